package volume

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/secretvm/secretvm/disk/luks"
)

// OpenEphemeral maps the disk with a key that is drawn here and never leaves
// the kernel, makes a file system on it and mounts it. No header is written:
// the data ends with this boot. A disk whose header area is not blank belongs
// to somebody and is refused; an ephemeral disk's always stays blank.
func OpenEphemeral(ctx context.Context, o Options) (*Volume, error) {
	disk, size, err := o.System.Open(o.Device, false)
	if err != nil {
		return nil, fmt.Errorf("data disk %s: %w", o.Device, err)
	}
	blank, err := luks.Blank(disk)
	if err := errors.Join(err, disk.Close()); err != nil {
		return nil, fmt.Errorf("data disk %s: %w", o.Device, err)
	}
	if !blank {
		return nil, fmt.Errorf("data disk %s: it is not blank, and an ephemeral machine overwrites its disk: attach an empty one", o.Device)
	}
	var key luks.VolumeKey
	defer clear(key[:])
	if _, err := rand.Read(key[:]); err != nil {
		return nil, fmt.Errorf("draw disk key: %w", err)
	}
	v := &Volume{Formatted: true, mountPoint: o.MountPoint, system: o.System}
	once := Options{Device: o.Device, Integrity: o.Integrity, Lap: o.Lap}
	if err := v.open(ctx, unlocked{key: &key, size: size}, once); err != nil {
		return nil, errors.Join(fmt.Errorf("data disk %s: %w", o.Device, err), v.Close())
	}
	return v, nil
}
