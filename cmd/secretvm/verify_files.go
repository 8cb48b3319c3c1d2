package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/secretvm/secretvm/compose"
	"github.com/secretvm/secretvm/peer"
	"github.com/secretvm/secretvm/policy"
	"github.com/secretvm/secretvm/verification"
	"github.com/secretvm/secretvm/vm"
)

// wanted reads the files that the flags name: the policy first, then what
// replaces parts of it.
func (f *verifyFlags) wanted() (w verification.Wanted, err error) {
	if err := f.readPolicy(&w); err != nil {
		return w, err
	}
	w.Wishes.Dev = w.Wishes.Dev || f.acceptDev
	if f.service != "" {
		w.Service = f.service
	}
	if key, err := hex.DecodeString(f.groupKey); err != nil || f.groupKey != "" && len(key) != 96 {
		return w, fmt.Errorf("--kms: want the 192 hex digits of a group key, as `kmsd status` prints them")
	} else if f.groupKey != "" {
		w.GroupKey = hex.EncodeToString(key)
	}
	if w.Data, err = hex.DecodeString(f.data); err != nil || len(w.Data) > vm.MaxWorkloadData {
		return w, fmt.Errorf("--data: want hex of at most %d bytes", vm.MaxWorkloadData)
	}
	if f.data == "" {
		w.Data = nil
	}
	if b, err := readWanted("--compose", f.compose); err != nil {
		return w, err
	} else if b != nil {
		w.Compose, w.Wishes.ComposeHash = b, nil
	}
	if b, err := readWanted("--files", f.files); err != nil {
		return w, err
	} else if b != nil {
		w.Files, w.Wishes.FilesHash = b, nil
	}
	if m, err := f.readManifest(); err != nil {
		return w, err
	} else if m != nil {
		w.Manifest, w.Wishes.Registers, w.Wishes.RootHash = m, nil, nil
	}
	if err := f.readRegistry(&w); err != nil {
		return w, err
	}
	for _, path := range f.roots {
		pem, err := readWanted("--trust-root", path)
		if err != nil {
			return w, err
		}
		roots, err := verification.ParseRoots(pem)
		if err != nil {
			return w, fmt.Errorf("--trust-root %s: %w", path, err)
		}
		w.Roots = append(w.Roots, roots...)
	}
	return w, nil
}

// granted lists the services of a compose file whose containers may ask for
// quotes. A file that cannot be read grants nothing; the comparison says so.
func granted(file []byte) (services []string) {
	w, err := compose.Parse(file, nil)
	if err != nil {
		return nil
	}
	for service, grants := range w.Settings.API {
		if slices.Contains(grants, vm.GrantQuote) {
			services = append(services, service)
		}
	}
	slices.Sort(services)
	return services
}

// readRegistry reads the known images of another system.
func (f *verifyFlags) readRegistry(w *verification.Wanted) error {
	var files [][]byte
	for _, path := range f.registries {
		b, err := readWanted("--registry", path)
		if err != nil {
			return err
		}
		files = append(files, b)
	}
	if files == nil {
		return nil
	}
	var err error
	if w.Registry, err = peer.ParseRegistry(files...); err != nil {
		return fmt.Errorf("--registry: %w", err)
	}
	return nil
}

// wishes reports whether the caller says anything about the machine.
func (f *verifyFlags) wishes() bool {
	return f.policy != "" || f.data != "" || f.compose != "" || f.files != "" || f.manifest != "" || f.image != "" || f.service != "" || f.groupKey != "" || f.registries != nil
}

// readPolicy applies --policy. Its paths are relative to it.
func (f *verifyFlags) readPolicy(w *verification.Wanted) error {
	b, err := readWanted("--policy", f.policy)
	if err != nil || b == nil {
		return err
	}
	p, err := policy.Parse(b)
	if err != nil {
		return fmt.Errorf("--policy %s: %w", f.policy, err)
	}
	err = p.Apply(w, func(path string) ([]byte, error) {
		if !filepath.IsAbs(path) {
			path = filepath.Join(filepath.Dir(f.policy), path)
		}
		return readWanted("it names a file", path)
	})
	if err != nil {
		return fmt.Errorf("--policy %s: %w", f.policy, err)
	}
	f.services.offline = f.services.offline || p.Collateral.Offline
	return nil
}

// readWanted reads the file that a flag of verify names; nil without one.
func readWanted(flag, path string) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s: %s does not exist", flag, path)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", flag, err)
	case len(b) == 0: // an empty file is a mistake, and must not read as "not passed"
		return nil, fmt.Errorf("%s: %s is empty", flag, path)
	}
	return b, nil
}

// readManifest reads --manifest or the manifest in --image; nil without both.
func (f *verifyFlags) readManifest() (*vm.Manifest, error) {
	flag, path := "--manifest", f.manifest
	if f.image != "" {
		if f.manifest != "" {
			return nil, errors.New("pass --manifest or --image, not both (an image's folder holds its manifest)")
		}
		flag, path = "--image", filepath.Join(f.image, vm.ManifestName)
	}
	b, err := readWanted(flag, path)
	if err != nil || b == nil {
		return nil, err
	}
	m, err := vm.ParseManifest(b)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", flag, path, err)
	}
	return &m, nil
}
