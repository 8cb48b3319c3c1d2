package oci

import (
	"context"
	"embed"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"

	"github.com/secretvm/secretvm/image"
	"github.com/secretvm/secretvm/image/lock"
	"github.com/secretvm/secretvm/image/pool"
	"github.com/secretvm/secretvm/vm"
)

// Options says what to build, from what, and where.
type Options struct {
	Folder   string // of the compose file and of images.yaml
	CacheDir string // layouts are kept in it, below "oci"
	Lock     lock.Lock
	Pool     *pool.Pool
	Note     func(format string, args ...any) // told what is being built; may be nil
}

// builder is one run of Build.
type builder struct {
	Options
	spec     *Spec
	programs map[string][]byte // by folder, the programs of Go images
}

// Build builds the images that images.yaml in the folder describes, or finds
// them in the cache. Without a description it returns nil.
func Build(ctx context.Context, o Options) (*Store, error) {
	spec, raw, err := ReadSpec(o.Folder)
	if err != nil || spec == nil {
		return nil, err
	}
	b := &builder{Options: o, spec: spec, programs: map[string][]byte{}}
	if err := b.compile(ctx); err != nil {
		return nil, err
	}
	key, err := b.key(raw)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(o.CacheDir, "oci", key.String())
	if store, err := Open(dir); err == nil {
		store.Cached = true
		return store, nil
	}
	if err := b.write(ctx, dir); err != nil {
		return nil, err
	}
	return Open(dir)
}

// compile builds the Go programs. Go's own cache makes it quick, and their
// bytes are part of the key.
func (b *builder) compile(ctx context.Context) error {
	for _, s := range b.spec.Images {
		if s.Go == "" || b.programs[s.Go] != nil {
			continue
		}
		b.note("compiling %s", s.title())
		source, command, err := b.findModule(s.Go)
		if err != nil {
			return fmt.Errorf("image %s: %w", s.title(), err)
		}
		if b.programs[s.Go], err = image.BuildProgram(ctx, source, command); err != nil {
			return fmt.Errorf("image %s: %w", s.title(), err)
		}
	}
	return nil
}

// findModule returns the folder of the go.mod above the description, and the
// package in folder relative to it: a description names no other module's.
func (b *builder) findModule(folder string) (root, command string, err error) {
	if folder, err = filepath.Abs(filepath.Join(b.Folder, folder)); err != nil {
		return "", "", err
	}
	dir, err := filepath.Abs(b.Folder)
	if err != nil {
		return "", "", err
	}
	for root = dir; ; root = filepath.Dir(root) {
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			break
		}
		if root == filepath.Dir(root) {
			return "", "", fmt.Errorf("no go.mod in or above %s", dir)
		}
	}
	rel, err := filepath.Rel(root, folder)
	if err == nil && !filepath.IsLocal(rel) {
		err = fmt.Errorf("package %s lies outside the module in %s", folder, root)
	}
	return root, "./" + filepath.ToSlash(rel), err
}

// The package's own sources are its version: whatever changes them may change
// the images.
//
//go:embed *.go
var sources embed.FS

// key digests everything that the images are made from.
func (b *builder) key(spec []byte) (vm.Hash, error) {
	parts := [][]byte{spec, []byte(runtime.Version())}
	for _, s := range b.spec.Images {
		parts = append(parts, b.programs[s.Go])
		if s.Group == "" {
			continue
		}
		locked, err := b.Lock.Group(s.Group)
		if err != nil {
			return vm.Hash{}, err
		}
		digest := lock.Digest(locked)
		parts = append(parts, digest[:])
	}
	err := fs.WalkDir(sources, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || strings.HasSuffix(name, "_test.go") {
			return err
		}
		text, err := sources.ReadFile(name)
		parts = append(parts, text)
		return err
	})
	if err != nil {
		return vm.Hash{}, fmt.Errorf("digest builder: %w", err)
	}
	var all []byte
	for _, p := range parts {
		all = binary.LittleEndian.AppendUint64(all, uint64(len(p)))
		all = append(all, p...)
	}
	return vm.HashOf(all), nil
}

// write makes the layout appear whole or not at all.
func (b *builder) write(ctx context.Context, dir string) (err error) {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	temporary, err := os.MkdirTemp(filepath.Dir(dir), ".layout-*")
	if err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temporary)) }()
	out, err := layout.Write(temporary, empty.Index)
	if err != nil {
		return fmt.Errorf("write image layout: %w", err)
	}
	for _, s := range b.spec.Images {
		b.note("building %s", s.title())
		img, err := b.image(ctx, s)
		if err != nil {
			return fmt.Errorf("image %s: %w", s.title(), err)
		}
		for _, annotations := range s.annotations() {
			if err := out.AppendImage(img, layout.WithAnnotations(annotations)); err != nil {
				return fmt.Errorf("image %s: write layout: %w", s.title(), err)
			}
		}
	}
	// A broken layout, which Open refused, makes way.
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.Rename(temporary, dir); err != nil {
		return fmt.Errorf("keep image layout: %w", err)
	}
	return nil
}

func (b *builder) note(format string, args ...any) {
	if b.Note != nil {
		b.Note(format, args...)
	}
}
