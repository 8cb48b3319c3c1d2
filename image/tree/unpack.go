package tree

import (
	"archive/tar"
	"fmt"
	"strings"

	"github.com/secretvm/secretvm/image/deb"
)

// Unpack adds an entry of a Debian package, whose content is that of a file.
// A hard link needs its target in the tree already, as in the package.
func (t Tree) Unpack(e deb.Entry, content []byte) error {
	name := Merged(e.Path)
	switch e.Type {
	case tar.TypeDir:
		t.Folder(name, e.Mode)
	case tar.TypeSymlink:
		t.Link(name, e.Link)
	case tar.TypeLink:
		n, ok := t[Merged(e.Link)]
		if !ok {
			return fmt.Errorf("hard link %s to %s, which is not before it", e.Path, e.Link)
		}
		t[name] = n
	default:
		t.File(name, e.Mode, content)
	}
	return nil
}

// Merged maps paths of before the /usr merge to where they are now.
func Merged(name string) string {
	switch first, _, _ := strings.Cut(name, "/"); first {
	case "bin", "sbin", "lib", "lib64":
		return "usr/" + name
	}
	return name
}
