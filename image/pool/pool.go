// Package pool is the cache of downloaded packages: a folder of files named by
// their SHA-256. What is in it was checked when it was written and is checked
// again when it is opened, so that the folder itself need not be trusted.
package pool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/secretvm/secretvm/image/archive"
	"github.com/secretvm/secretvm/image/fetch"
	"github.com/secretvm/secretvm/image/lock"
	"github.com/secretvm/secretvm/vm"
)

// parallel is how many packages are downloaded at a time.
const parallel = 6

// Pool fetches and keeps packages.
type Pool struct {
	Dir     string // holds one file a package, named by its SHA-256
	Mirrors archive.Mirrors
	Client  *fetch.Client
	Note    func(format string, args ...any) // told how far downloads are; may be nil
}

// Fetch makes sure that every package is in the pool and returns how many bytes
// were downloaded. A file that does not have its SHA-256 is refused and not kept.
func (p *Pool) Fetch(ctx context.Context, packages []lock.Package) (int64, error) {
	if err := os.MkdirAll(p.Dir, 0o755); err != nil {
		return 0, fmt.Errorf("make package cache: %w", err)
	}
	var missing []lock.Package
	var total int64
	for _, pkg := range packages {
		if info, err := os.Stat(p.path(pkg)); err == nil && info.Size() == pkg.Size {
			continue
		}
		missing = append(missing, pkg)
		total += pkg.Size
	}
	var done atomic.Int64
	var note sync.Mutex
	jobs, ctx := errgroup.WithContext(ctx)
	jobs.SetLimit(parallel)
	for _, pkg := range missing {
		jobs.Go(func() error {
			if err := p.download(ctx, pkg); err != nil {
				return err
			}
			note.Lock()
			defer note.Unlock()
			n := done.Add(pkg.Size)
			p.note("%d of %d MB, %s", n>>20, total>>20, pkg.Name)
			return nil
		})
	}
	return total, jobs.Wait()
}

func (p *Pool) download(ctx context.Context, pkg lock.Package) error {
	mirrors, err := p.Mirrors.Of(pkg.Archive)
	if err != nil {
		return err
	}
	b, err := p.Client.Get(ctx, mirrors, pkg.Path, pkg.Size, func(b []byte) error { return check(pkg, b) })
	if err != nil {
		if errors.Is(err, fetch.ErrNotFound) {
			return fmt.Errorf("%s of %s is no longer on the mirrors: refresh the lock file with `secretvm image lock`, "+
				"or name a mirror that keeps old packages with --mirror %s=URL: %w", pkg.ID(), pkg.Archive, pkg.Archive, err)
		}
		return err
	}
	if err := WriteWhole(p.path(pkg), b); err != nil {
		return fmt.Errorf("write package: %w", err)
	}
	return nil
}

// Read returns the content of a package that Fetch has fetched, checked again.
func (p *Pool) Read(pkg lock.Package) ([]byte, error) {
	b, err := os.ReadFile(p.path(pkg))
	if err != nil {
		return nil, fmt.Errorf("read package %s: %w", pkg.Name, err)
	}
	if err := check(pkg, b); err != nil {
		// The next Fetch downloads it again.
		return nil, fmt.Errorf("read package %s from cache: %w", pkg.Name, errors.Join(err, os.Remove(p.path(pkg))))
	}
	return b, nil
}

// Open is Read as a reader.
func (p *Pool) Open(pkg lock.Package) (io.Reader, error) {
	b, err := p.Read(pkg)
	return bytes.NewReader(b), err
}

func (p *Pool) path(pkg lock.Package) string {
	suffix := ".deb"
	if pkg.Arch == lock.SourceArch {
		suffix = ".tar.xz"
	}
	return filepath.Join(p.Dir, pkg.SHA256.String()+suffix)
}

func check(pkg lock.Package, b []byte) error {
	if got := vm.HashOf(b); got != pkg.SHA256 {
		return fmt.Errorf("SHA-256 is %s (%d bytes), the lock file says %s (%d bytes)", got, len(b), pkg.SHA256, pkg.Size)
	}
	return nil
}

// WriteWhole makes a file of a cache appear whole or not at all.
func WriteWhole(path string, b []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".download-*")
	if err != nil {
		return err
	}
	defer func() {
		if e := os.Remove(f.Name()); e != nil && !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}()
	_, err = f.Write(b)
	if err = errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
