package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/secretvm/secretvm/vm"
)

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
func (f verifyFlags) readManifest() (*vm.Manifest, error) {
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
