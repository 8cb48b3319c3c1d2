package foundry

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/secretvm/secretvm/image/lock"
	"github.com/secretvm/secretvm/image/pool"
	"github.com/secretvm/secretvm/step"
	"github.com/secretvm/secretvm/vm"
)

// Options says where a build may work.
type Options struct {
	CacheDir string     // packages, toolchains and products are kept here
	WorkDir  string     // where the build's folder is made; "" is below CacheDir
	Fresh    bool       // build even if the cache has it, and leave the cache's file alone
	Enter    []string   // command that calls Enter with the arguments that follow it
	Pool     *pool.Pool // where packages come from
	Report   step.Reporter
	Note     func(format string, args ...any) // told what is being built; may be nil
}

// Result is a product that was built, or found in the cache.
type Result struct {
	File    string  `json:"file"`
	SHA256  vm.Hash `json:"sha256"`
	Key     vm.Hash `json:"key"` // digest of all that it was made from; zero for a prebuilt file
	Cached  bool    `json:"cached"`
	Content []byte  `json:"-"`
}

// build is the state that the steps hand on.
type build struct {
	Options
	recipe    Recipe
	key       vm.Hash
	cached    bool
	toolchain string // root of the unpacked tools
	work      string // becomes the root of the build
	root      *os.Root
	content   []byte
}

// Build makes the product of r, or finds it in the cache. A file that is not the
// one of SHA256SUMS is an error: it is kept beside the cache's, to be looked at.
func Build(ctx context.Context, r Recipe, o Options) (result Result, err error) {
	b := &build{Options: o, recipe: r}
	if b.key, err = r.Key(); err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, b.cleanUp()) }()
	err = step.Run(ctx, o.Report,
		step.Step{Name: "cache", Run: b.lookUp},            // the same inputs were built before: nothing else is done
		step.Step{Name: "packages", Run: b.fetch},          // sources and tools, checked against the lock
		step.Step{Name: "toolchain", Run: b.openToolchain}, // unpacked, once for all builds
		step.Step{Name: "source", Run: b.place},            // unpacked, with what this repository adds
		step.Step{Name: "compile", Run: b.compile},         // in namespaces, at a fixed path
		step.Step{Name: "check", Run: b.check},             // the committed SHA-256
	)
	if err != nil {
		return result, fmt.Errorf("build %s %s: %w", r.Kind, r.File, err)
	}
	return Result{File: r.File, SHA256: vm.HashOf(b.content), Key: b.key, Cached: b.cached, Content: b.content}, nil
}

// CacheFile names the file below cacheDir in which the product is kept that was
// made from what key digests.
func (p Product) CacheFile(cacheDir string, key vm.Hash) string {
	return filepath.Join(cacheDir, p.Kind, key.String()[:16]+"-"+p.File)
}

// Cached returns the product of r from the cache, if it was built from these inputs.
func (r Recipe) Cached(cacheDir string) ([]byte, bool) {
	key, err := r.Key()
	if err != nil {
		return nil, false
	}
	content, err := os.ReadFile(r.CacheFile(cacheDir, key))
	return content, err == nil && r.Check(content) == nil
}

func (b *build) cacheFile() string { return b.recipe.CacheFile(b.CacheDir, b.key) }

func (b *build) lookUp(context.Context) (string, error) {
	if !b.Fresh {
		if content, ok := b.recipe.Cached(b.CacheDir); ok {
			b.content, b.cached = content, true
			return "nothing has changed", nil
		}
	}
	if err := os.MkdirAll(filepath.Dir(b.cacheFile()), 0o755); err != nil {
		return "", fmt.Errorf("make %s cache: %w", b.recipe.Kind, err)
	}
	return "not built yet", nil
}

func (b *build) fetch(ctx context.Context) (string, error) {
	if b.cached {
		return "not needed", nil
	}
	packages, err := b.recipe.Lock.Group(lock.Source, b.recipe.Toolchain)
	if err != nil {
		return "", err
	}
	n, err := b.Pool.Fetch(ctx, packages)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d, downloaded %d MB", len(packages), n>>20), nil
}

// openToolchain unpacks the tools, or finds them unpacked.
func (b *build) openToolchain(ctx context.Context) (string, error) {
	if b.cached {
		return "not needed", nil
	}
	group, err := b.recipe.Lock.Group(b.recipe.Toolchain)
	if err != nil {
		return "", err
	}
	b.toolchain = filepath.Join(b.CacheDir, "toolchains", lock.Digest(group).String()[:32])
	remark := "unpacked before"
	if _, err := os.Stat(b.toolchain); errors.Is(err, fs.ErrNotExist) {
		if err := b.Pool.Unpack(ctx, group, b.toolchain); err != nil {
			return "", fmt.Errorf("unpack toolchain: %w", err)
		}
		remark = fmt.Sprintf("%d packages", len(group))
	} else if err != nil {
		return "", fmt.Errorf("open toolchain: %w", err)
	}
	for link, target := range b.recipe.Links {
		if err := os.Symlink(target, filepath.Join(b.toolchain, "usr/bin", link)); err != nil && !errors.Is(err, fs.ErrExist) {
			return "", fmt.Errorf("complete toolchain: %w", err)
		}
	}
	return remark, nil
}

// check compares with what is committed, and keeps what is right.
func (b *build) check(context.Context) (string, error) {
	short := b.recipe.SHA256.String()[:16]
	if b.cached {
		return short, nil
	}
	if err := b.recipe.Check(b.content); err != nil {
		different := b.cacheFile() + ".different"
		if e := os.WriteFile(different, b.content, 0o644); e != nil {
			return "", errors.Join(err, e)
		}
		return "", fmt.Errorf("%w; it is kept as %s. Whoever changed what it is made from on purpose "+
			"writes the new SHA-256 to %s/SHA256SUMS", err, different, b.recipe.Home)
	}
	if b.Fresh {
		return short + ", as committed", nil
	}
	temporary := b.cacheFile() + ".new"
	if err := os.WriteFile(temporary, b.content, 0o644); err != nil {
		return "", fmt.Errorf("keep %s: %w", b.recipe.Kind, err)
	}
	return short + ", as committed", os.Rename(temporary, b.cacheFile())
}

func (b *build) cleanUp() error {
	if b.work == "" {
		return nil
	}
	return errors.Join(b.root.Close(), os.RemoveAll(b.work))
}

// jobs is how many compilers run at a time; the result does not depend on it.
func jobs() int { return max(1, runtime.NumCPU()) }
