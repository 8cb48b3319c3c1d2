package oci

import (
	"archive/tar"
	"context"
	"fmt"
	"path"
	"strconv"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/secretvm/secretvm/image/tree"
)

// content gathers the files of one image.
func (b *builder) content(ctx context.Context, s ImageSpec) (tree.Tree, error) {
	t := tree.Tree{}
	if s.Go != "" {
		t.File(path.Base(s.Go), 0o755, b.programs[s.Go])
	} else {
		all, err := b.packages(ctx, s.Group)
		if err != nil {
			return nil, err
		}
		if t, err = closure(all, s.Files); err != nil {
			return nil, err
		}
	}
	for name, text := range s.Text {
		t.File(name, 0o644, []byte(text))
	}
	for name, target := range s.Links {
		t.Link(name, target)
	}
	for _, name := range s.Folders {
		t[name] = tree.Node{Type: tar.TypeDir, Mode: 0o755}
	}
	return t, nil
}

// image puts one image together: one layer, and a configuration without any
// trace of who built it or when.
func (b *builder) image(ctx context.Context, s ImageSpec) (v1.Image, error) {
	t, err := b.content(ctx, s)
	if err != nil {
		return nil, err
	}
	l, err := layer(t, s.Folders, s.User)
	if err != nil {
		return nil, err
	}
	user := strconv.Itoa(s.User)
	cfg := v1.Config{
		User: user + ":" + user, Entrypoint: s.Entrypoint, Cmd: s.Command, WorkingDir: "/",
		Env: []string{"PATH=/usr/bin:/bin"}, ExposedPorts: set(s.Expose), Volumes: set(s.Volumes),
	}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err := mutate.ConfigFile(base, &v1.ConfigFile{
		Architecture: "amd64", OS: "linux", Config: cfg, Created: v1.Time{Time: time.Unix(0, 0).UTC()},
		RootFS: v1.RootFS{Type: "layers", DiffIDs: []v1.Hash{}},
	})
	if err != nil {
		return nil, fmt.Errorf("make image configuration: %w", err)
	}
	image, err = mutate.Append(image, mutate.Addendum{
		Layer: l, MediaType: types.OCILayer,
		History: v1.History{Created: v1.Time{Time: time.Unix(0, 0).UTC()}, CreatedBy: "secretvm oci build"},
	})
	if err != nil {
		return nil, fmt.Errorf("append layer: %w", err)
	}
	return image, nil
}

func set(names []string) map[string]struct{} {
	if len(names) == 0 {
		return nil
	}
	out := map[string]struct{}{}
	for _, n := range names {
		out[n] = struct{}{}
	}
	return out
}
