package firmware

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

// Options says what Build is to make and where it may work.
type Options struct {
	Platform Platform
	CacheDir string     // packages, toolchains and images are kept here
	WorkDir  string     // where the build's folder is made; "" is below CacheDir
	Fresh    bool       // build even if the cache has it, and leave the cache's image alone
	Enter    []string   // command that calls Enter with the arguments that follow it
	Pool     *pool.Pool // where packages come from
	Report   step.Reporter
	Note     func(format string, args ...any) // told what is being compiled; may be nil
}

// Result is an image that was built, or found in the cache.
type Result struct {
	TEE    vm.TEE  `json:"tee"`
	SHA256 vm.Hash `json:"sha256"`
	Key    vm.Hash `json:"key"` // digest of all that it was made from
	Cached bool    `json:"cached"`
	Image  []byte  `json:"-"`
}

// build is the state that the steps hand on.
type build struct {
	Options
	lock      lock.Lock
	key       vm.Hash
	cached    bool
	toolchain string // root of the unpacked tools
	work      string // becomes the root of the build
	image     []byte
}

// Build makes the image of o's platform, or finds it in the cache. An image that
// is not the one of SHA256SUMS is an error: it is kept beside the cache's, to be
// looked at.
func Build(ctx context.Context, o Options) (r Result, err error) {
	b := &build{Options: o}
	if b.lock, err = Lock(); err != nil {
		return r, err
	}
	if b.key, err = o.Platform.key(b.lock); err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, b.cleanUp()) }()
	err = step.Run(ctx, o.Report,
		step.Step{Name: "cache", Run: b.lookUp},            // the same inputs were built before: nothing else is done
		step.Step{Name: "packages", Run: b.fetch},          // tarballs and tools, checked against the lock
		step.Step{Name: "toolchain", Run: b.openToolchain}, // unpacked, once for all builds
		step.Step{Name: "source", Run: b.unpack},           // edk2, Debian's patches, ours, the platform's description
		step.Step{Name: "compile", Run: b.compile},         // in namespaces, at /b/edk2
		step.Step{Name: "check", Run: b.check},             // the committed SHA-256
	)
	if err != nil {
		return r, fmt.Errorf("build firmware %s: %w", o.Platform.File(), err)
	}
	return Result{TEE: o.Platform.TEE, SHA256: vm.HashOf(b.image), Key: b.key, Cached: b.cached, Image: b.image}, nil
}

// cacheFile is where the image is kept.
func (b *build) cacheFile() string { return CacheFile(b.CacheDir, b.Platform, b.key) }

// CacheFile names the file below cacheDir in which the image of p is kept that
// was made from what key digests.
func CacheFile(cacheDir string, p Platform, key vm.Hash) string {
	return filepath.Join(cacheDir, "firmware", key.String()[:16]+"-"+p.File())
}

// Cached returns the image of p from the cache, if one was built from the inputs
// of this release.
func Cached(cacheDir string, p Platform) ([]byte, bool) {
	l, err := Lock()
	if err != nil {
		return nil, false
	}
	key, err := p.key(l)
	if err != nil {
		return nil, false
	}
	image, err := os.ReadFile(CacheFile(cacheDir, p, key))
	return image, err == nil && p.Check(image) == nil
}

func (b *build) lookUp(context.Context) (string, error) {
	if !b.Fresh {
		if image, ok := Cached(b.CacheDir, b.Platform); ok {
			b.image, b.cached = image, true
			return "nothing has changed", nil
		}
	}
	if err := os.MkdirAll(filepath.Dir(b.cacheFile()), 0o755); err != nil {
		return "", fmt.Errorf("make firmware cache: %w", err)
	}
	return "not built yet", nil
}

func (b *build) fetch(ctx context.Context) (string, error) {
	if b.cached {
		return "not needed", nil
	}
	packages, err := b.lock.Group(lock.Source, lock.FirmwareToolchain)
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
	group, err := b.lock.Group(lock.FirmwareToolchain)
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
	// What maintainer scripts would have made.
	for link, target := range map[string]string{"sh": "bash", "awk": "gawk"} {
		if err := os.Symlink(target, filepath.Join(b.toolchain, "usr/bin", link)); err != nil && !errors.Is(err, fs.ErrExist) {
			return "", fmt.Errorf("complete toolchain: %w", err)
		}
	}
	return remark, nil
}

// check compares with what is committed, and keeps what is right.
func (b *build) check(context.Context) (string, error) {
	if b.cached {
		return b.Platform.SHA256.String()[:16], nil
	}
	if err := b.Platform.Check(b.image); err != nil {
		different := b.cacheFile() + ".different"
		if e := os.WriteFile(different, b.image, 0o644); e != nil {
			return "", errors.Join(err, e)
		}
		return "", fmt.Errorf("%w; it is kept as %s. Whoever changed the lock, the patches or the description "+
			"on purpose writes the new SHA-256 to image/firmware/SHA256SUMS", err, different)
	}
	if b.Fresh {
		return b.Platform.SHA256.String()[:16] + ", as committed", nil
	}
	temporary := b.cacheFile() + ".new"
	if err := os.WriteFile(temporary, b.image, 0o644); err != nil {
		return "", fmt.Errorf("keep firmware: %w", err)
	}
	return b.Platform.SHA256.String()[:16] + ", as committed", os.Rename(temporary, b.cacheFile())
}

func (b *build) cleanUp() error {
	if b.work == "" {
		return nil
	}
	return os.RemoveAll(b.work)
}

// jobs is how many compilers run at a time; the result does not depend on it.
func jobs() int { return max(1, runtime.NumCPU()) }
