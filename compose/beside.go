package compose

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/secretvm/secretvm/configdisk"
	"github.com/secretvm/secretvm/vm"
)

// addSecretVariables names the variables that hold secrets of the file among
// those that the owner may seal: who reads the file sees that they are secret.
func (s *Settings) addSecretVariables(secrets []Secret) error {
	for _, secret := range secrets {
		if secret.Environment == "" {
			continue
		}
		if err := vm.CheckEnv(secret.Environment); err != nil {
			return fmt.Errorf("secret %s: %w", secret.Name, err)
		}
		s.Env = append(s.Env, secret.Environment)
	}
	slices.Sort(s.Env)
	if s.Env = slices.Compact(s.Env); len(s.Env) > vm.MaxEnv {
		return fmt.Errorf("%d variables may be sealed, want at most %d", len(s.Env), vm.MaxEnv)
	}
	return nil
}

// readNames lists the files and folders of a files archive, and refuses what a
// machine would refuse to unpack.
func readNames(archive []byte) (map[string]bool, error) {
	names := map[string]bool{}
	reader := tar.NewReader(bytes.NewReader(archive))
	for archive != nil {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read files archive: %w", err)
		}
		name := path.Clean(header.Name)
		switch {
		case header.Typeflag != tar.TypeReg && header.Typeflag != tar.TypeDir:
			return nil, fmt.Errorf("files archive: %s is of type %q, want a regular file or a folder (try: tar --dereference)", header.Name, header.Typeflag)
		case !filepath.IsLocal(name):
			return nil, fmt.Errorf("files archive: %s would lie outside of the workload's folder", header.Name)
		case names[name] && header.Typeflag == tar.TypeReg:
			return nil, fmt.Errorf("files archive: %s is there a second time", header.Name)
		}
		for ; name != "."; name = path.Dir(name) {
			names[name] = true
		}
	}
	return names, nil
}

// packing says how to make a files archive, the same bytes from the same files.
const packing = "tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --mode=a+rX,go-w -cf " + configdisk.FilesName

// checkBeside reports the first file that services take from beside the compose
// file, in folder, and that no machine would have.
func (w *Workload) checkBeside(doc *yaml.Node, folder string) error {
	names, err := readNames(w.Files)
	if err != nil {
		return err
	}
	lacks := func(name string) bool {
		local := Local(name)
		return !strings.Contains(name, "$") && (local == "" || !names[local])
	}
	for _, name := range w.Outside.EnvFiles {
		if lacks(name) && (len(w.Settings.Env) == 0 || Local(name) == "") {
			return fmt.Errorf("env_file %s is not in %s: seal it, with its variables named in %s as env: […] (secretvm service env set), or, if it may be public, make the archive: %s %s",
				name, configdisk.FilesName, SettingsKey, packing, path.Clean(name))
		}
	}
	isFile := func(name string) bool {
		info, err := os.Stat(filepath.Join(folder, name))
		return err == nil && info.Mode().IsRegular()
	}
	keys, configs := pairs(lookup(doc, "configs"))
	for i, key := range keys {
		if name := text(lookup(configs[i], "file")); name != "" && lacks(name) {
			return fmt.Errorf("config %s: %s is not in %s: make the archive (%s %s)", key.Value, name, configdisk.FilesName, packing, path.Clean(name))
		}
	}
	keys, services := pairs(lookup(doc, "services"))
	for i, key := range keys {
		for _, volume := range items(lookup(services[i], "volumes")) {
			source, _, mounted := strings.Cut(volume.Value, ":")
			if volume.Kind == yaml.MappingNode {
				source, mounted = text(lookup(volume, "source")), text(lookup(volume, "type")) == "bind"
			}
			if mounted && strings.ContainsAny(source, "./") && lacks(source) && Local(source) != "" && isFile(source) {
				return fmt.Errorf("service %s: it mounts %s, which lies beside the compose file and is not in %s: make the archive (%s %s)",
					key.Value, source, configdisk.FilesName, packing, path.Clean(source))
			}
		}
	}
	return nil
}

// Sealable returns the secrets that the files archive does not bring, which the
// owner seals.
func (w *Workload) Sealable() ([]Secret, error) {
	names, err := readNames(w.Files)
	return slices.DeleteFunc(slices.Clone(w.Outside.Secrets), func(s Secret) bool { return names[Local(s.File)] }), err
}
