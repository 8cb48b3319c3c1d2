// Package tools runs programs from the lock's tools group on any Linux host:
// unpacked below the cache, started through their own dynamic loader with their
// own libraries, so that neither the host's C library nor its packages matter.
package tools

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/secretvm/secretvm/image/lock"
	"github.com/secretvm/secretvm/image/pool"
)

// Where Debian's amd64 packages put things, below the root of the set.
const (
	loader     = "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"
	libraries  = "usr/lib/x86_64-linux-gnu"
	qemuData   = "usr/share/qemu"
	seabios    = "usr/share/seabios"
	ipxe       = "usr/lib/ipxe/qemu"
	qemuModule = "usr/lib/x86_64-linux-gnu/qemu"
)

// Set is an unpacked tools group.
type Set struct {
	root string
}

// Open fetches the tools group of l into packages and unpacks it below
// cacheDir/tools, once: later calls find it there.
func Open(ctx context.Context, l lock.Lock, packages *pool.Pool, cacheDir string) (*Set, error) {
	group, err := l.Group(lock.Tools)
	if err != nil {
		return nil, err
	}
	root := filepath.Join(cacheDir, "tools", lock.Digest(group).String()[:32])
	if _, err := os.Stat(root); err == nil {
		return &Set{root}, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open tools: %w", err)
	}
	if _, err := packages.Fetch(ctx, group); err != nil {
		return nil, err
	}
	if err := packages.Unpack(ctx, group, root); err != nil {
		return nil, fmt.Errorf("unpack tools: %w", err)
	}
	return &Set{root}, nil
}

// Path returns the path on the host of a file of the set, given as in its
// package: "usr/share/qemu".
func (s *Set) Path(name string) string { return filepath.Join(s.root, filepath.FromSlash(name)) }

// Command prepares to run one of the set's programs, named without its folder.
// QEMU is told where its firmware and modules are.
func (s *Set) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	full := []string{"--library-path", s.Path(libraries), s.program(name)}
	qemu := strings.HasPrefix(name, "qemu-system-")
	if qemu {
		full = append(full, "-L", s.Path(qemuData), "-L", s.Path(seabios), "-L", s.Path(ipxe))
	}
	c := exec.CommandContext(ctx, s.Path(loader), append(full, args...)...)
	if qemu {
		c.Env = append(c.Environ(), "QEMU_MODULE_DIR="+s.Path(qemuModule))
	}
	return c
}

// program finds name where Debian keeps programs; one that is missing gets the
// path whose absence Start then reports.
func (s *Set) program(name string) string {
	for _, folder := range []string{"usr/bin", "usr/sbin"} {
		p := s.Path(folder + "/" + name)
		if _, err := os.Stat(p); err == nil {
			return p
		}
	}
	return s.Path("usr/bin/" + name)
}
