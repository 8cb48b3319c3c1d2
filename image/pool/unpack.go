package pool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/secretvm/secretvm/image/deb"
	"github.com/secretvm/secretvm/image/lock"
)

// Unpack writes the files of packages, which Fetch has fetched, into the new
// folder dir. The folder appears whole or not at all; if it is there already
// (another process was faster), it stays as it is.
func (p *Pool) Unpack(ctx context.Context, packages []lock.Package, dir string) (err error) {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	temporary, err := os.MkdirTemp(filepath.Dir(dir), ".unpack-*")
	if err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temporary)) }()
	// Made for its owner alone; what is renamed into place may be read by all.
	if err := os.Chmod(temporary, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(temporary)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, pkg := range packages {
		if err := ctx.Err(); err != nil {
			return err
		}
		r, err := p.Open(pkg)
		if err != nil {
			return err
		}
		if err := deb.Unpack(r, root); err != nil {
			return fmt.Errorf("unpack package %s: %w", pkg.Name, err)
		}
		p.note("unpacked %s", pkg.Name)
	}
	if err := os.Rename(temporary, dir); err != nil {
		if _, there := os.Stat(dir); there == nil {
			return nil
		}
		return err
	}
	return nil
}

func (p *Pool) note(format string, args ...any) {
	if p.Note != nil {
		p.Note(format, args...)
	}
}
