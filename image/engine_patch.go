package image

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"
)

// patchedFolder, in EngineModule, has files that replace those of modules:
// MODULE/FILE. Go ignores folders with such a name.
const patchedFolder = "_patched"

// patches are the files of the engine's modules that are replaced, by their module
// and their path in it.
type patches map[string]map[string][]byte

// readPatches reads what is below the folder of patches, for modules that the
// engine requires.
func readPatches(source string, required []*modfile.Require) (patches, error) {
	root := filepath.Join(source, EngineModule, patchedFolder)
	p := patches{}
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		relative, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		relative = filepath.ToSlash(relative)
		at := slices.IndexFunc(required, func(r *modfile.Require) bool { return strings.HasPrefix(relative, r.Mod.Path+"/") })
		if at < 0 {
			return fmt.Errorf("%s is of no module that %s/go.mod requires", relative, EngineModule)
		}
		module := required[at].Mod.Path
		if p[module] == nil {
			p[module] = map[string][]byte{}
		}
		p[module][strings.TrimPrefix(relative, module+"/")], err = os.ReadFile(name)
		return err
	})
	if errors.Is(err, os.ErrNotExist) {
		return p, nil
	}
	return p, err
}

// apply makes a module in folder that requires what the engine's does, with the
// patched modules as folders in it.
func (p *enginePins) apply(ctx context.Context, source, folder string) error {
	mod, err := modfile.Parse("go.mod", p.goMod, nil)
	if err != nil {
		return fmt.Errorf("read %s/go.mod: %w", EngineModule, err)
	}
	for module, files := range p.patches {
		original, err := moduleFolder(ctx, source, EngineModule, module)
		if err != nil {
			return err
		}
		there := filepath.Join(folder, filepath.FromSlash(module))
		if err := os.CopyFS(there, os.DirFS(original)); err != nil {
			return fmt.Errorf("copy %s: %w", module, err)
		}
		for name, content := range files {
			if err := replaceFile(filepath.Join(there, filepath.FromSlash(name)), content); err != nil {
				return fmt.Errorf("patch %s: %w", module, err)
			}
		}
		if err := mod.AddReplace(module, "", patchedPath(module), ""); err != nil {
			return fmt.Errorf("patch %s: %w", module, err)
		}
	}
	text, err := mod.Format()
	if err != nil {
		return fmt.Errorf("write go.mod: %w", err)
	}
	return errors.Join(
		os.WriteFile(filepath.Join(folder, "go.mod"), text, 0o644),
		os.WriteFile(filepath.Join(folder, "go.sum"), p.goSum, 0o644))
}

// patchedPath is what a program says about where a patched module was.
func patchedPath(module string) string { return "./" + module }

// replaceFile replaces a file that must be there: else the patch is of another
// version of its module.
func replaceFile(name string, content []byte) error {
	if _, err := os.Stat(name); err != nil {
		return fmt.Errorf("%w (its version has changed: look at what the patch is for)", err)
	}
	// The copy is as read-only as what it is a copy of.
	if err := os.Remove(name); err != nil {
		return err
	}
	return os.WriteFile(name, content, 0o644)
}

// moduleFolder downloads what a module of the source tree requires, unless it is
// there, and returns where it is. Go checks what it downloads against go.sum.
func moduleFolder(ctx context.Context, source, folder, module string) (string, error) {
	c, err := goTool(ctx, source, filepath.Join(source, folder), "mod", "download", "-json", module)
	if err != nil {
		return "", err
	}
	var messages bytes.Buffer
	c.Stderr = &messages
	out, err := c.Output()
	if err != nil {
		return "", fmt.Errorf("download %s: %w: %s%s", module, err, out, messages.Bytes())
	}
	var there struct{ Dir string }
	if err := json.Unmarshal(out, &there); err != nil {
		return "", fmt.Errorf("download %s: %w", module, err)
	}
	return there.Dir, nil
}
