package image

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/secretvm/secretvm/image/deb"
	"github.com/secretvm/secretvm/image/kernel"
	"github.com/secretvm/secretvm/image/linux"
	"github.com/secretvm/secretvm/image/lock"
	"github.com/secretvm/secretvm/image/tree"
)

// firmwareFile is OVMF for direct boot, in Debian's package ovmf.
const firmwareFile = "usr/share/ovmf/OVMF.fd"

// unpack reads all packages of the image into memory.
func (b *build) unpack(ctx context.Context) (string, error) {
	if b.cached {
		return "not needed", nil
	}
	b.root, b.modules = tree.Tree{}, kernel.NewSet()
	b.firmware, b.kernel = b.Firmware, b.Kernel
	if b.Kernel != nil {
		b.modules.Add("modules.builtin", linux.Builtin())
	}
	guest := make([]tree.Tree, len(b.Source.Lock.Groups[lock.Guest]))
	var kernelLock sync.Mutex
	jobs, ctx := errgroup.WithContext(ctx)
	jobs.SetLimit(4)
	// The kernel's modules are the largest package by far: first.
	for _, p := range b.Source.Lock.Groups[lock.Kernel] {
		if b.Kernel != nil {
			break
		}
		jobs.Go(func() error {
			return b.walk(ctx, p, func(e deb.Entry, content []byte) error {
				kernelLock.Lock()
				defer kernelLock.Unlock()
				if path.Base(e.Path) == KernelName {
					b.kernel = content
				} else {
					b.modules.Add(e.Path, content)
				}
				return nil
			})
		})
	}
	for i, p := range b.Source.Lock.Groups[lock.Guest] {
		guest[i] = tree.Tree{}
		jobs.Go(func() error {
			return b.walk(ctx, p, func(e deb.Entry, content []byte) error { return b.keep(guest[i], e, content) })
		})
	}
	for _, p := range b.Source.Lock.Groups[lock.Firmware] {
		if b.Firmware != nil {
			break
		}
		jobs.Go(func() error {
			return b.walk(ctx, p, func(e deb.Entry, content []byte) error {
				if e.Path == firmwareFile {
					b.firmware = content
				}
				return nil
			})
		})
	}
	if err := jobs.Wait(); err != nil {
		return "", err
	}
	if err := b.merge(guest); err != nil {
		return "", err
	}
	switch {
	case b.kernel == nil:
		return "", errors.New("no package of the kernel group has a " + KernelName)
	case b.firmware == nil:
		return "", errors.New("no package of the firmware group has " + firmwareFile)
	}
	return fmt.Sprintf("%d files, %.0f MB", len(b.root), megabytes(int(b.root.Size()))), nil
}

// walk hands every entry of a package to visit, files with their content.
func (b *build) walk(ctx context.Context, p lock.Package, visit func(deb.Entry, []byte) error) error {
	r, err := b.Pool.Open(p)
	if err != nil {
		return err
	}
	err = deb.Walk(r, b.tools.Decompressor(ctx), func(e deb.Entry, content io.Reader) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		var buf bytes.Buffer
		if e.Type == tar.TypeReg {
			buf.Grow(int(min(e.Size, 256<<20)))
			if _, err := buf.ReadFrom(content); err != nil {
				return fmt.Errorf("%s: %w", e.Path, err)
			}
		}
		return visit(e, buf.Bytes())
	})
	if err != nil {
		return fmt.Errorf("unpack %s: %w", p.ID(), err)
	}
	return nil
}

// keep adds an entry to the tree of its package, unless the specification drops it.
func (b *build) keep(t tree.Tree, e deb.Entry, content []byte) error {
	if b.Source.Spec.Rootfs.drops(tree.Merged(e.Path)) {
		return nil
	}
	return t.Unpack(e, content)
}

// merge joins the packages' trees in the order of the lock. Two packages that
// bring different files of one name do not belong together.
func (b *build) merge(trees []tree.Tree) error {
	for i, t := range trees {
		for name, n := range t {
			old, there := b.root[name]
			switch {
			case there && n.Type == tar.TypeDir && old.Type == tar.TypeDir:
			case there && (n.Type != old.Type || n.Target != old.Target || !bytes.Equal(n.Content, old.Content)):
				return fmt.Errorf("package %s brings another %s than a package before it", b.Source.Lock.Groups[lock.Guest][i].Name, name)
			default:
				b.root[name] = n
			}
		}
	}
	return nil
}
