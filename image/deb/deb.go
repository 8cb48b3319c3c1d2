// Package deb reads Debian binary packages (deb(5)) without dpkg: the ar
// container, the control stanza, and the files, which it hands out entry by
// entry or unpacks below a folder. Maintainer scripts are never run.
package deb

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// maxControl bounds the control stanza of one package, in bytes.
const maxControl = 1 << 20

// Entry is one file, folder or link of a package.
type Entry struct {
	Path string // slash-separated, relative, clean; never "." or ".."
	Type byte   // tar.TypeReg, TypeDir, TypeSymlink or TypeLink
	Mode int64  // permission bits with setuid, setgid and sticky, as chmod takes them
	Link string // target of a symlink; path of a hard link, as Path
	Size int64
}

// Decompressor wraps a reader by the suffix of the file's name, as Decompress
// does; closing ends whatever does the work.
type Decompressor func(name string, r io.Reader) (io.ReadCloser, error)

// Walk reads the package from r and calls visit for each entry of its data
// archive, in order, with the entry's content (empty unless a regular file).
// Devices and other special files are errors.
func Walk(r io.Reader, decompress Decompressor, visit func(Entry, io.Reader) error) (err error) {
	name, packed, err := member(r, "data.tar")
	if err != nil {
		return err
	}
	data, err := decompress(name, packed)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, data.Close()) }()
	return walk(data, visit)
}

// walk calls visit for each entry of a tar archive, and reads it to its end.
func walk(data io.Reader, visit func(Entry, io.Reader) error) error {
	archive := tar.NewReader(data)
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			// The rest is padding, behind which the checksum of the compression stands.
			_, err = io.Copy(io.Discard, data)
		}
		if h == nil && err == nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read data archive: %w", err)
		}
		if h.Typeflag == tar.TypeXGlobalHeader { // as git leaves in the tarballs it makes
			continue
		}
		e, err := entryOf(h)
		if err != nil {
			return err
		}
		if e.Path == "." {
			continue
		}
		if err := visit(e, archive); err != nil {
			return err
		}
	}
}

// Control returns the control stanza of the package read from r.
func Control(r io.Reader) (Stanza, error) {
	name, data, err := member(r, "control.tar")
	if err != nil {
		return nil, err
	}
	plain, err := Decompress(name, data)
	if err != nil {
		return nil, err
	}
	archive := tar.NewReader(plain)
	for {
		h, err := archive.Next()
		if err != nil {
			return nil, fmt.Errorf("find control file: %w", err)
		}
		if path.Clean(h.Name) == "control" {
			stanzas := NewStanzas(io.LimitReader(archive, maxControl))
			return stanzas.Next()
		}
	}
}

// member finds the first ar member whose name begins with prefix and returns
// its name and content, as compressed as it is.
func member(r io.Reader, prefix string) (string, io.Reader, error) {
	archive, err := newArReader(r)
	if err != nil {
		return "", nil, err
	}
	for first := true; ; first = false {
		name, data, err := archive.next()
		if errors.Is(err, io.EOF) {
			return "", nil, fmt.Errorf("package has no %s", prefix)
		}
		if err != nil {
			return "", nil, err
		}
		if first && name != "debian-binary" {
			return "", nil, fmt.Errorf("first member is %q, want debian-binary", name)
		}
		if strings.HasPrefix(name, prefix) {
			return name, data, nil
		}
	}
}

// Decompress wraps r by the suffix of name: .xz, .zst, .gz, or none of these.
func Decompress(name string, r io.Reader) (io.ReadCloser, error) {
	buffered := bufio.NewReaderSize(r, 64<<10)
	var out io.Reader
	var err error
	switch path.Ext(name) {
	case ".xz":
		out, err = xz.NewReader(buffered)
	case ".zst":
		// One goroutine: nothing has to be closed.
		out, err = zstd.NewReader(buffered, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(256<<20))
	case ".gz":
		out, err = gzip.NewReader(buffered)
	default:
		out = buffered
	}
	if err != nil {
		return nil, fmt.Errorf("decompress %s: %w", name, err)
	}
	return io.NopCloser(out), nil
}

func entryOf(h *tar.Header) (Entry, error) {
	e := Entry{Path: path.Clean(h.Name), Type: h.Typeflag, Mode: h.Mode & 0o7777, Size: h.Size}
	if !local(e.Path) {
		return e, fmt.Errorf("path %q leaves the package", h.Name)
	}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeDir:
	case tar.TypeSymlink:
		e.Link = h.Linkname
	case tar.TypeLink:
		e.Link = path.Clean(h.Linkname)
		if !local(e.Link) || e.Link == "." {
			return e, fmt.Errorf("hard link %q leaves the package", h.Linkname)
		}
	default:
		return e, fmt.Errorf("%s has the type %q, want a file, folder or link", h.Name, h.Typeflag)
	}
	return e, nil
}

// local reports whether a clean path stays below the root.
func local(p string) bool {
	return !path.IsAbs(p) && p != ".." && !strings.HasPrefix(p, "../") && !strings.ContainsRune(p, 0)
}
