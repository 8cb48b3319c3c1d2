package image

import (
	"bytes"
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"

	"github.com/secretvm/secretvm/image/pool"
	"github.com/secretvm/secretvm/vm"
)

// EngineModule is the folder of the Go module that pins the container engine. It
// has no code: its go.mod names the programs and the versions of all modules, its
// go.sum their content.
const EngineModule = "image/engine"

// moby is the module of dockerd, which learns its own version from the linker.
const moby = "github.com/moby/moby/v2"

// engineTags leave out graph drivers for file systems that the guest does not have.
const engineTags = "exclude_graphdriver_btrfs,exclude_graphdriver_zfs"

// compileEngine builds the container engine, or finds it in the cache: linking it
// takes longer than all the rest of a build in which nothing has changed.
func (b *build) compileEngine(ctx context.Context) (string, error) {
	if b.cached || b.pins == nil {
		return "not needed", nil
	}
	commands := b.Source.Spec.Rootfs.Engine
	folder, err := os.MkdirTemp("", "secretvm-engine-*")
	if err != nil {
		return "", fmt.Errorf("make folder: %w", err)
	}
	defer os.RemoveAll(folder)
	var remarks []string
	modules := map[string]vm.PackageFile{}
	for _, name := range slices.Sorted(maps.Keys(commands)) {
		program, err := b.engineProgram(ctx, commands[name], folder)
		if err != nil {
			return "", err
		}
		if err := b.pins.addModules(modules, program); err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
		b.programs[name] = program
		remarks = append(remarks, fmt.Sprintf("%s %.1f MB", filepath.Base(name), megabytes(len(program))))
	}
	for _, path := range slices.Sorted(maps.Keys(modules)) {
		b.engine = append(b.engine, modules[path])
	}
	return strings.Join(remarks, ", "), nil
}

// engineProgram compiles one command, unless the cache has what the same pins,
// toolchain and flags gave. A fresh build asks no cache. The first that compiles
// puts the patched modules into folder.
func (b *build) engineProgram(ctx context.Context, command, folder string) ([]byte, error) {
	pins := b.pins
	linker := linkerFlags + " -X " + moby + "/dockerversion.Version=" + pins.version
	cached := filepath.Join(b.CacheDir, "programs", pins.key(command, linker))
	if !b.Fresh {
		if program, err := os.ReadFile(cached); err == nil {
			if _, err := buildinfo.Read(bytes.NewReader(program)); err == nil {
				return program, nil
			}
		}
	}
	if _, err := os.Stat(filepath.Join(folder, "go.mod")); err != nil {
		if err := pins.apply(ctx, b.Tree, folder); err != nil {
			return nil, err
		}
	}
	program, err := goBuild(ctx, b.Tree, folder, command, linker, "-tags="+engineTags)
	if err != nil || b.Fresh {
		return program, err
	}
	if err := os.MkdirAll(filepath.Dir(cached), 0o755); err != nil {
		return nil, fmt.Errorf("keep %s: %w", command, err)
	}
	if err := pool.WriteWhole(cached, program); err != nil {
		return nil, fmt.Errorf("keep %s: %w", command, err)
	}
	return program, nil
}

// enginePins is what the engine's programs depend on beside their flags.
type enginePins struct {
	goMod, goSum []byte
	toolchain    string // of the source tree's go.mod
	version      string // of moby, without its v
	patches      patches
}

func readEnginePins(source string) (*enginePins, error) {
	var p enginePins
	var err error
	if p.goMod, err = os.ReadFile(filepath.Join(source, EngineModule, "go.mod")); err != nil {
		return nil, fmt.Errorf("find the container engine: %w (run in the source tree, or name it with --source)", err)
	}
	if p.goSum, err = os.ReadFile(filepath.Join(source, EngineModule, "go.sum")); err != nil {
		return nil, fmt.Errorf("find the container engine: %w", err)
	}
	if p.toolchain, err = goRelease(source); err != nil {
		return nil, err
	}
	engine, err := modfile.Parse("go.mod", p.goMod, nil)
	if err != nil {
		return nil, fmt.Errorf("read %s/go.mod: %w", EngineModule, err)
	}
	if p.patches, err = readPatches(source, engine.Require); err != nil {
		return nil, fmt.Errorf("read the engine's patches: %w", err)
	}
	for _, r := range engine.Require {
		if r.Mod.Path == moby {
			p.version = strings.TrimPrefix(r.Mod.Version, "v")
		}
	}
	if p.version == "" {
		return nil, fmt.Errorf("%s/go.mod does not require %s", EngineModule, moby)
	}
	return &p, nil
}

// digest adds all pins.
func (p *enginePins) digest(d hash.Hash) {
	replaced, _ := json.Marshal(p.patches) // in the order of names; strings and bytes always can be
	for _, part := range [][]byte{p.goMod, p.goSum, []byte(p.toolchain), replaced} {
		add(d, part)
	}
}

// key names what command becomes.
func (p *enginePins) key(command, linker string) string {
	d := sha256.New()
	p.digest(d)
	for _, part := range []string{command, linker, engineTags} {
		add(d, []byte(part))
	}
	return hex.EncodeToString(d.Sum(nil))
}

// addModules adds the modules that a program says it was linked from. Patched ones
// are named as such, with the hash of what was patched.
func (p *enginePins) addModules(modules map[string]vm.PackageFile, program []byte) error {
	info, err := buildinfo.Read(bytes.NewReader(program))
	if err != nil {
		return fmt.Errorf("read what it was made from: %w", err)
	}
	for _, m := range append(info.Deps, &info.Main) {
		version, sum := m.Version, m.Sum
		if m.Replace != nil {
			if p.patches[m.Path] == nil || m.Replace.Path != patchedPath(m.Path) {
				return fmt.Errorf("module %s is replaced by %s", m.Path, m.Replace.Path)
			}
			version, sum = m.Version+"+patched", p.sum(m.Path, m.Version)
		}
		digest, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(sum, "h1:"))
		if err != nil || len(digest) != len(vm.Hash{}) || !strings.HasPrefix(sum, "h1:") {
			return fmt.Errorf("module %s %s has the sum %q, want h1:…", m.Path, m.Version, sum)
		}
		modules[m.Path] = vm.PackageFile{Name: m.Path, Version: version, SHA256: vm.Hash(digest)}
	}
	return nil
}

// sum is what go.sum has of a module, or nothing.
func (p *enginePins) sum(module, version string) string {
	for line := range strings.Lines(string(p.goSum)) {
		if sum, ok := strings.CutPrefix(line, module+" "+version+" "); ok {
			return strings.TrimSpace(sum)
		}
	}
	return ""
}
