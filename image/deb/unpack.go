package deb

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
)

// Unpack writes the files of the package read from r below root, which may
// hold other packages already. Nothing is written outside of root, whatever
// the package's symlinks say. Set-id bits and owners are not kept: what is
// unpacked is used by the caller alone.
func Unpack(r io.Reader, root *os.Root) error {
	return Walk(r, Decompress, func(e Entry, content io.Reader) error {
		if err := place(root, e, content); err != nil {
			return fmt.Errorf("unpack %s: %w", e.Path, err)
		}
		return nil
	})
}

// UnpackTarball writes the files of a tarball of a source package likewise; name
// says by its suffix how it is compressed.
func UnpackTarball(name string, r io.Reader, root *os.Root) error {
	data, err := Decompress(name, r)
	if err != nil {
		return err
	}
	err = walk(data, func(e Entry, content io.Reader) error {
		if err := place(root, e, content); err != nil {
			return fmt.Errorf("unpack %s: %w", e.Path, err)
		}
		return nil
	})
	return errors.Join(err, data.Close())
}

func place(root *os.Root, e Entry, content io.Reader) error {
	mode := fs.FileMode(e.Mode & 0o777)
	if e.Type == tar.TypeDir {
		// The caller has to be able to fill the folder and to remove it again.
		err := root.Mkdir(e.Path, mode|0o700)
		if errors.Is(err, fs.ErrExist) {
			return nil
		}
		return err
	}
	if err := root.MkdirAll(path.Dir(e.Path), 0o755); err != nil {
		return err
	}
	if err := root.Remove(e.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	switch e.Type {
	case tar.TypeSymlink:
		return root.Symlink(e.Link, e.Path)
	case tar.TypeLink:
		return root.Link(e.Link, e.Path)
	}
	f, err := root.OpenFile(e.Path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode|0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	return errors.Join(err, f.Close())
}
