package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// The file inside the encrypted file system that holds the generation, in
// decimal with a newline.
const (
	stateFolder    = ".secretvm"
	generationFile = "generation"
)

// checkGeneration compares what the disk says with what the chain says. A
// disk without a generation was never finished, which is generation 0.
func checkGeneration(disk, chain uint64) error {
	switch {
	case disk == chain, disk == chain+1:
		return nil
	case disk < chain:
		return fmt.Errorf("%w: it has generation %d, the key manager remembers %d: use the newest copy, or accept the loss as the owner", ErrRolledBack, disk, chain)
	default:
		return fmt.Errorf("%w: it has generation %d, the key manager remembers %d: is this the right key manager?", ErrAhead, disk, chain)
	}
}

// readGeneration returns the generation of the file system at root, 0 if it
// has none.
func readGeneration(root string) (uint64, error) {
	path := filepath.Join(root, stateFolder, generationFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read disk generation: %w", err)
	}
	text, ok := strings.CutSuffix(string(b), "\n")
	n, err := strconv.ParseUint(text, 10, 63)
	if !ok || err != nil || strconv.FormatUint(n, 10) != text {
		return 0, fmt.Errorf("read disk generation: %q is not a number", b)
	}
	return n, nil
}

// writeGeneration replaces the generation, so that after a power cut either
// the old or the new one is there.
func writeGeneration(root string, n uint64) error {
	folder := filepath.Join(root, stateFolder)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return fmt.Errorf("write disk generation: %w", err)
	}
	path := filepath.Join(folder, generationFile)
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("write disk generation: %w", err)
	}
	_, err = fmt.Fprintf(f, "%d\n", n)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write disk generation: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("write disk generation: %w", err)
	}
	for _, dir := range []string{folder, root} {
		if err := syncFolder(dir); err != nil {
			return fmt.Errorf("write disk generation: %w", err)
		}
	}
	return nil
}

func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
