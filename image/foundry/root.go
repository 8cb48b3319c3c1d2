package foundry

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/secretvm/secretvm/image/deb"
	"github.com/secretvm/secretvm/image/lock"
	"github.com/secretvm/secretvm/image/pool"
)

// Dir is where everything of a build is, below its root: source, scripts, result.
const Dir = "b"

// Sources are the locked packages and tarballs of a product's source.
type Sources struct {
	packages []lock.Package
	pool     *pool.Pool
}

// Find returns the package or tarball with this name.
func (s Sources) Find(name string) (lock.Package, error) {
	for _, p := range s.packages {
		if p.Name == name {
			return p, nil
		}
	}
	return lock.Package{}, fmt.Errorf("lock file has no %s; choose anew with the lock command", name)
}

// Only returns the one package that there is.
func (s Sources) Only() (lock.Package, error) {
	if len(s.packages) != 1 {
		return lock.Package{}, fmt.Errorf("lock file has %d packages of source, want one", len(s.packages))
	}
	return s.packages[0], nil
}

// All returns all of them.
func (s Sources) All() []lock.Package { return slices.Clone(s.packages) }

// Open returns the content of one of them.
func (s Sources) Open(p lock.Package) (io.Reader, error) { return s.pool.Open(p) }

// Unpack writes the files of a source package's tarball into a folder of root.
func (s Sources) Unpack(ctx context.Context, name string, root *os.Root, folder string) (lock.Package, error) {
	p, err := s.Find(name)
	if err != nil {
		return p, err
	}
	if err := ctx.Err(); err != nil {
		return p, err
	}
	r, err := s.Open(p)
	if err != nil {
		return p, err
	}
	sub, err := root.OpenRoot(folder)
	if err != nil {
		return p, err
	}
	defer sub.Close()
	if err := deb.UnpackTarball(path.Base(p.Path), r, sub); err != nil {
		return p, fmt.Errorf("unpack %s: %w", path.Base(p.Path), err)
	}
	return p, nil
}

// place lays out the root of the build, and the source in it.
func (b *build) place(ctx context.Context) (string, error) {
	if b.cached {
		return "not needed", nil
	}
	parent := b.WorkDir
	if parent == "" {
		parent = filepath.Dir(b.cacheFile())
	}
	if err := b.open(parent); err != nil {
		return "", err
	}
	packages, err := b.recipe.Lock.Group(lock.Source)
	if err != nil {
		return "", err
	}
	remark, err := b.recipe.Place(ctx, Sources{packages, b.Pool}, b.root)
	if err != nil {
		return "", err
	}
	return remark, placeInputs(b.recipe.Inputs, b.root)
}

// open makes the root of the build below parent.
func (b *build) open(parent string) error {
	var err error
	if b.work, err = os.MkdirTemp(parent, ".build-*"); err != nil {
		return fmt.Errorf("make build folder: %w", err)
	}
	if b.root, err = os.OpenRoot(b.work); err != nil {
		return err
	}
	if err := layOut(b.root); err != nil {
		return fmt.Errorf("lay out build folder: %w", err)
	}
	return nil
}

// layOut makes the folders and links of the root; Enter mounts the rest.
func layOut(root *os.Root) error {
	for _, dir := range []string{Dir, "usr", "tmp", "dev/shm"} {
		if err := root.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	for _, dir := range []string{"bin", "sbin", "lib", "lib64"} {
		if err := root.Symlink("usr/"+dir, dir); err != nil {
			return err
		}
	}
	for _, device := range devices {
		if err := root.WriteFile("dev/"+device, nil, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// placeInputs writes a recipe's own files below Dir.
func placeInputs(inputs fs.FS, root *os.Root) error {
	return fs.WalkDir(inputs, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := fs.ReadFile(inputs, name)
		if err != nil {
			return err
		}
		to := Dir + "/" + name
		if err := root.MkdirAll(path.Dir(to), 0o755); err != nil {
			return err
		}
		return root.WriteFile(to, text, 0o644)
	})
}
