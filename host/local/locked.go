package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/secretvm/secretvm/host/qemu"
	"github.com/secretvm/secretvm/image"
	"github.com/secretvm/secretvm/image/archive"
	"github.com/secretvm/secretvm/image/pool"
	"github.com/secretvm/secretvm/image/tools"
	"github.com/secretvm/secretvm/step"
)

// aptFolder is where this computer's apt configuration names mirrors and proxies.
const aptFolder = "/etc/apt"

// Locked is what comes from the lock file that this program was built with: the
// image and the emulator. Packages are downloaded when the cache lacks them.
type Locked struct {
	Mirrors []string // ARCHIVE=URL, tried before those of apt's configuration
	Source  string   // source tree of the guest's programs; empty: found from here
}

// Image builds the base image, or finds it in the cache.
func (l Locked) Image(ctx context.Context, note Note) (folder, remark string, err error) {
	o := image.Options{Tree: l.Source, Report: noteReporter(note)}
	if o.Tree == "" {
		if o.Tree, err = findSource(); err != nil {
			return "", "", err
		}
	}
	if o.Source, err = image.BaseSource(); err != nil {
		return "", "", err
	}
	if o.CacheDir, o.Pool, err = l.pool(note); err != nil {
		return "", "", err
	}
	built, err := image.Build(ctx, o)
	if err != nil {
		return "", "", err
	}
	remark = built.Manifest.Release
	if built.Cached {
		remark += " (cached)"
	}
	return built.Dir, remark, nil
}

// QEMU unpacks the locked emulator, once.
func (l Locked) QEMU(ctx context.Context, note Note) (none qemu.Binary, err error) {
	locked, err := image.BaseLock()
	if err != nil {
		return none, err
	}
	cache, packages, err := l.pool(note)
	if err != nil {
		return none, err
	}
	set, err := tools.Open(ctx, locked, packages, cache)
	if err != nil {
		return none, err
	}
	command := set.Command(ctx, "qemu-system-x86_64")
	return qemu.Binary{Argv: command.Args, Env: command.Env}, nil
}

// pool opens the cache folder and the packages below it.
func (l Locked) pool(note Note) (cache string, packages *pool.Pool, err error) {
	if cache, err = image.CacheDir(); err != nil {
		return "", nil, err
	}
	packages, err = image.OpenPool(cache, aptFolder, os.Getenv(archive.MirrorsVariable), l.Mirrors, note)
	return cache, packages, err
}

// findSource returns the source tree that the working directory, or else this
// program, lies in.
func findSource() (string, error) {
	var starts []string
	if dir, err := os.Getwd(); err == nil {
		starts = append(starts, dir)
	}
	if self, err := os.Executable(); err == nil {
		starts = append(starts, filepath.Dir(self))
	}
	for _, dir := range starts {
		for ; ; dir = filepath.Dir(dir) {
			text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
			if err == nil && strings.HasPrefix(string(text), "module github.com/secretvm/secretvm\n") {
				return dir, nil
			}
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	return "", errors.New("the image is built from this program's source tree, which is not here (run it there, or name a built image with --image)")
}

// noteReporter shows the steps of a build as notes of one step of up.
type noteReporter Note

// Started implements step.Reporter.
func (n noteReporter) Started(name string) { n("%s", name) }

// Finished implements step.Reporter.
func (n noteReporter) Finished(step.Result) {}

// ImageFolder uses a folder that somebody built before.
func ImageFolder(dir string) func(context.Context, Note) (string, string, error) {
	return func(context.Context, Note) (string, string, error) {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return "", "", fmt.Errorf("find image: %w", err)
		}
		return abs, "from " + dir, nil
	}
}
