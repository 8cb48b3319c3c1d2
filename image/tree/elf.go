package tree

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
)

// libraryFolders is where the dynamic loader of Debian amd64 looks by itself.
var libraryFolders = []string{"usr/lib/x86_64-linux-gnu", "usr/lib"}

// CheckLibraries reports the first program or library whose interpreter or
// needed libraries are not in the tree: something was excluded that is needed.
func (t Tree) CheckLibraries() error {
	for _, name := range slices.Sorted(maps.Keys(t)) {
		n := t[name]
		if n.Type != tar.TypeReg || !bytes.HasPrefix(n.Content, []byte(elf.ELFMAG)) || strings.HasSuffix(name, ".ko") {
			continue
		}
		f, err := elf.NewFile(bytes.NewReader(n.Content))
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		needed, err := f.ImportedLibraries()
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		for _, library := range needed {
			if !t.hasLibrary(library, path.Dir(name)) {
				return fmt.Errorf("%s needs %s, which no package of the group has", name, library)
			}
		}
		if interp := f.Section(".interp"); interp != nil {
			b, err := interp.Data()
			if err != nil {
				return fmt.Errorf("read %s: %w", name, err)
			}
			loader := strings.Trim(string(b), "\x00/")
			if _, ok := t.Follow(loader); !ok {
				return fmt.Errorf("%s needs the loader %s, which no package of the group has", name, loader)
			}
		}
	}
	return nil
}

func (t Tree) hasLibrary(library, beside string) bool {
	return slices.ContainsFunc(append([]string{beside}, libraryFolders...), func(folder string) bool {
		_, ok := t.Follow(path.Join(folder, library))
		return ok
	})
}
