package firmware

import (
	"context"
	_ "embed"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/secretvm/secretvm/image/foundry"
	"github.com/secretvm/secretvm/image/lock"
)

// The names of a source package's tarballs in the lock: edk2.orig, edk2.debian.
const (
	origTarball   = "edk2.orig"
	debianTarball = "edk2.debian"
)

// sourceDir is where edk2 is in the build's root.
const sourceDir = foundry.Dir + "/edk2"

//go:embed firmware.lock.json
var locked []byte

// Lock returns the lock that this program was built with: groups lock.Source and
// lock.FirmwareToolchain.
func Lock() (lock.Lock, error) { return lock.Parse(locked) }

// ParseSpec reads firmware.yaml, which the lock is made from.
func ParseSpec(b []byte) (foundry.Spec, error) {
	return foundry.ParseSpec(b, "firmware", lock.Source, lock.FirmwareToolchain)
}

// Recipe returns how p's image is made.
func (p Platform) Recipe() (foundry.Recipe, error) {
	l, err := Lock()
	return foundry.Recipe{
		Product: p.Product, Variant: p.name, Lock: l, Toolchain: lock.FirmwareToolchain, Inputs: inputs,
		Links:   map[string]string{"sh": "bash", "awk": "gawk"},
		Place:   place,
		Stages:  []foundry.Stage{{Script: []string{"build.sh", p.name}}},
		Finish:  func(root *os.Root) ([]byte, error) { return root.ReadFile(foundry.Dir + "/OVMF.fd") },
		Notable: notable,
	}, err
}

// place lays out edk2, with the platforms' descriptions in it.
func place(ctx context.Context, sources foundry.Sources, root *os.Root) (string, error) {
	orig, err := sources.Unpack(ctx, origTarball, root, foundry.Dir)
	if err != nil {
		return "", err
	}
	if _, err := sources.Unpack(ctx, debianTarball, root, foundry.Dir); err != nil {
		return "", err
	}
	// The folder in the tarball has the version in its name, and its length is in
	// the result: one name for all.
	upstream, _, _ := strings.Cut(orig.Version, "-")
	if err := root.Rename(foundry.Dir+"/edk2-"+upstream, sourceDir); err != nil {
		return "", fmt.Errorf("lay out build folder: %w", err)
	}
	if err := root.Mkdir(sourceDir+"/SecretVm", 0o755); err != nil {
		return "", err
	}
	files, err := fs.Glob(inputs, "platform/*")
	for _, name := range files {
		text, err := inputs.ReadFile(name)
		if err != nil {
			return "", err
		}
		if err := root.WriteFile(sourceDir+"/SecretVm/"+path.Base(name), text, 0o644); err != nil {
			return "", err
		}
	}
	return "edk2 " + orig.Version, err
}

// notable finds the module that edk2 says it builds.
func notable(line string) (string, bool) {
	_, module, ok := strings.Cut(line, "Building ... ")
	name, _, _ := strings.Cut(path.Base(module), " ")
	return name, ok
}

// Cached returns the image of p from the cache, if one was built from the inputs
// of this release.
func Cached(cacheDir string, p Platform) ([]byte, bool) {
	r, err := p.Recipe()
	if err != nil {
		return nil, false
	}
	return r.Cached(cacheDir)
}
