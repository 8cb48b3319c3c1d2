package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/secretvm/secretvm/host/qemu"
	"github.com/secretvm/secretvm/host/qtest"
	"github.com/secretvm/secretvm/image"
	"github.com/secretvm/secretvm/measure"
	"github.com/secretvm/secretvm/vm"
)

// parseShapes reads shapes such as 4x8G and 2x1536M.
func parseShapes(texts []string) (shapes []vm.Shape, err error) {
	for _, text := range texts {
		s, err := vm.ParseShape(text)
		if err != nil {
			return nil, fmt.Errorf("--shape %q: %w", text, err)
		}
		shapes = append(shapes, s)
	}
	return shapes, nil
}

// tablesOf asks a QEMU of this computer for ACPI tables. Another version than
// the locked one describes the same machine with other bytes.
func tablesOf(ctx context.Context, path string) (func(vm.Shape) (measure.ACPI, error), error) {
	binary, err := qemu.System(ctx, path)
	if err != nil {
		return nil, err
	}
	cache, err := image.CacheDir()
	if err != nil {
		return nil, err
	}
	return func(s vm.Shape) (measure.ACPI, error) {
		return qtest.Digests(ctx, binary, filepath.Join(cache, "acpi"), s)
	}, nil
}

// maxConfigFile bounds what is read of a config, in bytes.
const maxConfigFile = 1 << 20

// readConfig reads a measured config, with any white space and order of fields.
func readConfig(path string) (*vm.Config, error) {
	b, err := readAtMost(path, maxConfigFile)
	if err != nil {
		return nil, fmt.Errorf("read config: %w", err)
	}
	var config vm.Config
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&config); err != nil {
		return nil, fmt.Errorf("%s is not a measured config: %w", path, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s is not a measured config: bytes trail the document", path)
	}
	if err := config.Validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &config, nil
}

func readAtMost(path string, limit int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s has more than %d bytes", path, limit)
	}
	return b, err
}

// readArtifact reads a file beside the manifest and checks that it is the one
// that the manifest names.
func readArtifact(dir string, f vm.File) ([]byte, error) {
	if filepath.Base(f.Name) != f.Name {
		return nil, fmt.Errorf("the manifest names %q, want a plain file name", f.Name)
	}
	file, err := os.Open(filepath.Join(dir, f.Name))
	if err != nil {
		return nil, fmt.Errorf("read image: %w", err)
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, f.Size+1))
	if err != nil {
		return nil, fmt.Errorf("read image: %w", err)
	}
	if got := vm.HashOf(b); int64(len(b)) != f.Size || got != f.SHA256 {
		return nil, fmt.Errorf("%s is not the file that the manifest names: SHA-256 %s, want %s with %d bytes", file.Name(), got, f.SHA256, f.Size)
	}
	return b, nil
}
