package workload

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/secretvm/secretvm/compose"
	"github.com/secretvm/secretvm/vm"
)

// Secrets gives the project what its owner sealed as files, beside the variables
// of Unseal: the secrets of the measured compose file, each a file in folder,
// and its files of variables, which hold those that the measured config allows.
// Both folders are on a tmpfs. What the files archive brought stays as it is: it
// is measured, and public. A secret that neither has is missed by whoever mounts
// it.
func (p *Project) Secrets(composeFile []byte, env vm.Environment, folder string) error {
	outside, err := compose.FromOutside(composeFile)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return fmt.Errorf("prepare the workload's secrets: %w", err)
	}
	var moved []string
	for _, s := range outside.Secrets {
		content, sealed := env.Secret(s.Name)
		if value, set := p.variable(s.Environment); set && !sealed {
			content, sealed = []byte(value), true
		}
		if s.Environment != "" && !sealed || p.brought(s.File) {
			continue
		}
		path := filepath.Join(folder, s.Name)
		if sealed {
			err = os.WriteFile(path, content, 0o600)
			clear(content)
			if err == nil {
				err = os.Lchown(path, s.UID, s.GID)
			}
			if err == nil {
				err = os.Chmod(path, s.Mode)
			}
			if err != nil {
				return fmt.Errorf("write secret %s: %w", s.Name, err)
			}
		}
		// Compose is to forget where else the secret could lie.
		moved = append(moved, fmt.Sprintf("%q: !override {file: %q}", s.Name, path))
	}
	if err := p.writeVariables(append(outside.EnvFiles, outside.Optional...)); err != nil || moved == nil {
		return err
	}
	return p.writeOverlay("workload-secrets.yaml", []byte("secrets: {"+strings.Join(moved, ", ")+"}\n"))
}

// variable returns a variable that was sealed and that the measured config
// allows.
func (p *Project) variable(name string) (value string, set bool) {
	for _, v := range p.secret {
		if value, set = strings.CutPrefix(v, name+"="); set && name != "" {
			return value, true
		}
	}
	return "", false
}

// brought reports whether the files archive brought a file.
func (p *Project) brought(name string) bool {
	local := compose.Local(name)
	if local == "" {
		return false
	}
	_, err := os.Lstat(filepath.Join(p.Folder, local))
	return err == nil
}

// escapes are those of a value between double quotes in a file of variables.
var escapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`, "\n", `\n`)

// writeVariables writes the sealed variables to those files of variables that the
// files archive did not bring.
func (p *Project) writeVariables(files []string) error {
	var text strings.Builder
	for _, v := range p.secret {
		name, value, _ := strings.Cut(v, "=")
		text.WriteString(name + `="` + escapes.Replace(value) + "\"\n")
	}
	root, err := os.OpenRoot(p.Folder)
	if err != nil {
		return fmt.Errorf("write the workload's variables: %w", err)
	}
	defer root.Close()
	for _, name := range files {
		local := compose.Local(name)
		if local == "" || p.brought(name) || len(p.secret) == 0 {
			continue
		}
		err := root.MkdirAll(filepath.Dir(local), 0o755)
		if err == nil {
			err = root.WriteFile(local, []byte(text.String()), 0o600)
		}
		if err != nil {
			return fmt.Errorf("write the variables of %s: %w", name, err)
		}
	}
	return nil
}

// overlay has docker compose lay services over those of the measured file.
func (p *Project) overlay(name string, services map[string]any) error {
	b, err := json.Marshal(map[string]any{"services": services}) // JSON is YAML
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return p.writeOverlay(name, b)
}

// writeOverlay has docker compose lay one more file over the measured one.
func (p *Project) writeOverlay(name string, text []byte) error {
	path := filepath.Join(p.engine.folders.Run, name)
	if err := os.WriteFile(path, text, 0o444); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	p.overlays = append(p.overlays, path)
	return nil
}
