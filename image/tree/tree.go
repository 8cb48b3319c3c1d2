// Package tree is a file system in memory, put together from packages and own
// files and written as a tar archive whose bytes depend on nothing else: sorted
// paths, owner 0, one time for all.
package tree

import (
	"archive/tar"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"time"
)

// Node is one file, folder or symlink.
type Node struct {
	Type    byte   // tar.TypeReg, tar.TypeDir or tar.TypeSymlink
	Mode    int64  // permission, set-id and sticky bits
	Target  string // of a symlink
	Content []byte // of a file
}

// Tree maps clean relative paths to nodes. Parents need not be in it: Write
// adds them as folders of mode 0755.
type Tree map[string]Node

// Folder adds a folder unless there is one.
func (t Tree) Folder(name string, mode int64) {
	if n, ok := t[name]; !ok || n.Type != tar.TypeDir {
		t[name] = Node{Type: tar.TypeDir, Mode: mode}
	}
}

// Link adds or replaces a symlink.
func (t Tree) Link(name, target string) {
	t[name] = Node{Type: tar.TypeSymlink, Mode: 0o777, Target: target}
}

// File adds or replaces a file.
func (t Tree) File(name string, mode int64, content []byte) {
	t[name] = Node{Type: tar.TypeReg, Mode: mode, Content: content}
}

// Size is the sum of the files' sizes, in bytes.
func (t Tree) Size() int64 {
	var n int64
	for _, node := range t {
		n += int64(len(node.Content))
	}
	return n
}

// Follow returns the path that name leads to when symlinks are followed, within
// the tree, and whether something is there.
func (t Tree) Follow(name string) (string, bool) {
	resolved, rest := "", strings.Split(path.Clean(name), "/")
	for hops := 0; len(rest) > 0; {
		next := path.Join(resolved, rest[0])
		rest = rest[1:]
		n, ok := t[next]
		if ok && n.Type == tar.TypeSymlink {
			if hops++; hops > 40 {
				return "", false
			}
			target := n.Target
			if !path.IsAbs(target) {
				target = path.Join("/", resolved, target)
			}
			rest = slices.Concat(strings.Split(strings.Trim(path.Clean(target), "/"), "/"), rest)
			resolved = ""
			continue
		}
		resolved = next
	}
	_, ok := t[resolved]
	return resolved, ok
}

// Write writes the tree as a tar archive (POSIX ustar, with PAX records for
// long names), every entry dated epoch.
func (t Tree) Write(w io.Writer, epoch time.Time) error {
	out := tar.NewWriter(w)
	// Without an entry of its own the root would be writable by everyone.
	root := &tar.Header{Typeflag: tar.TypeDir, Name: "./", Mode: 0o755, ModTime: epoch}
	if err := out.WriteHeader(root); err != nil {
		return fmt.Errorf("write root folder: %w", err)
	}
	for _, name := range t.paths() {
		n, ok := t[name]
		if !ok {
			n = Node{Type: tar.TypeDir, Mode: 0o755}
		}
		h := &tar.Header{
			Typeflag: n.Type, Name: name, Mode: n.Mode, ModTime: epoch,
			Size: int64(len(n.Content)), Linkname: n.Target,
		}
		if n.Type == tar.TypeDir {
			h.Name += "/"
		}
		if err := out.WriteHeader(h); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
		if _, err := out.Write(n.Content); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	return out.Close()
}

// paths returns all paths and their parents, parents first.
func (t Tree) paths() []string {
	all := map[string]bool{}
	for name := range t {
		for p := name; p != "."; p = path.Dir(p) {
			all[p] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// Check reports a path that runs through something that is not a folder.
func (t Tree) Check() error {
	for _, name := range t.paths() {
		if n, ok := t[path.Dir(name)]; ok && n.Type != tar.TypeDir {
			return fmt.Errorf("%s is below %s, which is not a folder", name, path.Dir(name))
		}
	}
	return nil
}
