package oci

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/secretvm/secretvm/image/tree"
)

// layer makes one layer of a tree. Everything belongs to root and is dated
// 1970, but for the named folders, which belong to user, so that a volume that
// is mounted there belongs to it too.
func layer(t tree.Tree, folders []string, user int) (v1.Layer, error) {
	if err := t.Check(); err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	out := tar.NewWriter(&buf)
	all := map[string]bool{}
	for name := range t {
		for p := name; p != "."; p = path.Dir(p) {
			all[p] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		n, ok := t[name]
		if !ok {
			n = tree.Node{Type: tar.TypeDir, Mode: 0o755}
		}
		h := &tar.Header{
			Typeflag: n.Type, Name: name, Mode: n.Mode, Size: int64(len(n.Content)), Linkname: n.Target, Format: tar.FormatUSTAR,
		}
		if n.Type == tar.TypeDir {
			h.Name += "/"
		}
		if slices.Contains(folders, name) {
			h.Uid, h.Gid = user, user
		}
		if err := out.WriteHeader(h); err != nil {
			return nil, fmt.Errorf("write layer: %s: %w", name, err)
		}
		if _, err := out.Write(n.Content); err != nil {
			return nil, fmt.Errorf("write layer: %s: %w", name, err)
		}
	}
	if err := out.Close(); err != nil {
		return nil, fmt.Errorf("write layer: %w", err)
	}
	// gzip: the one compression that every version of every engine takes.
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(buf.Bytes())), nil
	}, tarball.WithCompressionLevel(9), tarball.WithMediaType(types.OCILayer))
}
