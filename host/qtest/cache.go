package qtest

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/secretvm/secretvm/host/qemu"
	"github.com/secretvm/secretvm/measure"
	"github.com/secretvm/secretvm/vm"
)

// Digests returns the digests of the ACPI files of the TDX machine of a shape
// under any QEMU, not the locked one only. What one version said about one
// machine is kept in dir, below a name that has both in it; a file there is
// believed, as a program there would be.
func Digests(ctx context.Context, binary qemu.Binary, dir string, shape vm.Shape) (found measure.ACPI, err error) {
	version, err := Version(ctx, binary)
	if err != nil {
		return found, err
	}
	args, err := Arguments(shape)
	if err != nil {
		return found, err
	}
	key, err := json.Marshal(struct {
		Version   string
		Arguments []string
	}{version, args})
	if err != nil {
		return found, fmt.Errorf("name ACPI tables: %w", err)
	}
	file := filepath.Join(dir, fmt.Sprintf("%x.json", sha256.Sum256(key)))
	text, err := os.ReadFile(file)
	if err == nil && json.Unmarshal(text, &found) == nil && found != (measure.ACPI{}) {
		return found, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return found, fmt.Errorf("read kept ACPI tables: %w", err)
	}
	blobs, err := ACPI(ctx, binary, shape)
	if err != nil {
		return found, err
	}
	found = measure.DigestACPI(blobs)
	if text, err = json.Marshal(found); err != nil {
		return found, fmt.Errorf("keep ACPI tables: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return found, fmt.Errorf("keep ACPI tables: %w", err)
	}
	// Written aside first: another process may read at the same time.
	aside := fmt.Sprintf("%s.%d", file, os.Getpid())
	if err := os.WriteFile(aside, text, 0o644); err != nil {
		return found, fmt.Errorf("keep ACPI tables: %w", err)
	}
	if err := os.Rename(aside, file); err != nil {
		return found, fmt.Errorf("keep ACPI tables: %w", err)
	}
	return found, nil
}
