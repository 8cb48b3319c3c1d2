package local

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"

	"github.com/secretvm/secretvm/host/registry"
	"github.com/secretvm/secretvm/image"
	"github.com/secretvm/secretvm/image/oci"
)

// Containers builds the images that the workload's folder describes, or finds
// them in the cache; nil where it describes none.
func (l Locked) Containers(ctx context.Context, folder string, note Note) (*oci.Store, error) {
	locked, err := image.BaseLock()
	if err != nil {
		return nil, err
	}
	cache, packages, err := l.pool(note)
	if err != nil {
		return nil, err
	}
	return oci.Build(ctx, oci.Options{Folder: folder, CacheDir: cache, Lock: locked, Pool: packages, Note: note})
}

// startRegistry serves the images that exist only on this computer.
func (in *Installation) startRegistry(ctx context.Context) (string, error) {
	w := in.o.Workload
	store, err := in.o.Containers(ctx, filepath.Dir(w.Path), in.o.Note)
	if err != nil {
		return "", err
	}
	if store == nil {
		return "not needed", nil
	}
	if err := store.Check(w.Services, w.Pins); err != nil {
		return "", err
	}
	if in.registry, err = registry.Start(store.Dir, "127.0.0.1:0"); err != nil {
		return "", err
	}
	remark := fmt.Sprintf("%d images", len(store.Images))
	if len(store.Images) == 1 {
		remark = "1 image"
	}
	if store.Cached {
		remark += " (cached)"
	}
	return remark, nil
}

// registryHint is the registry's address as the guest sees it; empty without one.
func (in *Installation) registryHint() string {
	if in.registry == nil {
		return ""
	}
	return guestGateway + ":" + strconv.Itoa(in.registry.Port())
}
