package oci

import (
	"archive/tar"
	"bytes"
	"context"
	"debug/elf"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/secretvm/secretvm/image/deb"
	"github.com/secretvm/secretvm/image/tree"
)

// packages reads all packages of a group of the lock into one tree.
func (b *builder) packages(ctx context.Context, group string) (tree.Tree, error) {
	locked, err := b.Lock.Group(group)
	if err != nil {
		return nil, err
	}
	if _, err := b.Pool.Fetch(ctx, locked); err != nil {
		return nil, err
	}
	t := tree.Tree{}
	for _, p := range locked {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		r, err := b.Pool.Open(p)
		if err != nil {
			return nil, err
		}
		err = deb.Walk(r, deb.Decompress, func(e deb.Entry, content io.Reader) error {
			b, err := io.ReadAll(content) // nothing, but for files
			if err != nil {
				return fmt.Errorf("%s: %w", e.Path, err)
			}
			return t.Unpack(e, b)
		})
		if err != nil {
			return nil, fmt.Errorf("unpack %s: %w", p.ID(), err)
		}
	}
	return t, nil
}

// libraryFolders is where Debian's dynamic loader looks without a cache file.
var libraryFolders = []string{"usr/lib/x86_64-linux-gnu", "usr/lib"}

// closure takes the named programs out of a tree, with the symlinks, the loader
// and the libraries that they need, and with the links of the /usr merge.
func closure(all tree.Tree, programs []string) (tree.Tree, error) {
	out := tree.Tree{}
	todo := slices.Clone(programs)
	for len(todo) > 0 {
		name := todo[0]
		todo = todo[1:]
		if _, done := out[name]; done {
			continue
		}
		n, ok := all[name]
		if !ok {
			return nil, fmt.Errorf("no package of the group has %s", name)
		}
		out[name] = n
		switch {
		case n.Type == tar.TypeSymlink:
			target := path.Join("/", path.Dir(name), n.Target)
			if path.IsAbs(n.Target) {
				target = path.Clean(n.Target)
			}
			todo = append(todo, tree.Merged(strings.TrimPrefix(target, "/")))
		case n.Type == tar.TypeReg && bytes.HasPrefix(n.Content, []byte(elf.ELFMAG)):
			needed, err := needs(all, name, n.Content)
			if err != nil {
				return nil, err
			}
			todo = append(todo, needed...)
		}
	}
	for _, name := range []string{"bin", "lib", "lib64"} {
		out.Link(name, "usr/"+name)
	}
	return out, out.CheckLibraries()
}

// needs returns the paths of the loader and the libraries of an ELF file.
func needs(all tree.Tree, name string, content []byte) ([]string, error) {
	f, err := elf.NewFile(bytes.NewReader(content))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	libraries, err := f.ImportedLibraries()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	var paths []string
	for _, library := range libraries {
		i := slices.IndexFunc(libraryFolders, func(folder string) bool { _, ok := all[path.Join(folder, library)]; return ok })
		if i < 0 {
			return nil, fmt.Errorf("%s needs %s, which no package of the group has", name, library)
		}
		paths = append(paths, path.Join(libraryFolders[i], library))
	}
	if s := f.Section(".interp"); s != nil {
		loader, err := s.Data()
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		paths = append(paths, tree.Merged(strings.Trim(string(loader), "\x00/")))
	}
	return paths, nil
}
