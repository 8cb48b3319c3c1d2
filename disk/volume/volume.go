package volume

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/secretvm/secretvm/disk/luks"
)

// mapName is the device-mapper name of the plaintext device.
const mapName = "data"

// Options says which disk to open how. Mount point and tools are the caller's
// because the image decides where they are.
type Options struct {
	Device     string // block device, e.g. /dev/vdc
	MountPoint string
	Key        luks.Key
	Older      []luks.Key // keys of earlier epochs, newest first: a disk that opens with one of them is given Key
	Generation uint64     // what the chain says
	Uncounted  bool       // nobody counts: Generation is 0 always, and only a blank disk is ever written to
	System     System
}

// System is what opening a disk needs of the machine: see Linux.
type System interface {
	// Open opens a disk for reading, or for writing where nobody else has it, and
	// tells its size in bytes.
	Open(device string, write bool) (File, int64, error)
	// Share opens a disk for writing beside its own plaintext device.
	Share(device string) (File, error)
	// Format makes a LUKS2 header on a blank disk.
	Format(ctx context.Context, disk luks.Disk, key luks.Key) (*luks.VolumeKey, error)
	// Renew gives a disk that opens with an older key the current one.
	Renew(ctx context.Context, disk luks.Disk, current luks.Key, older ...luks.Key) error
	// Activate makes the plaintext device and returns its path.
	Activate(name, device string, size int64, key *luks.VolumeKey) (path string, err error)
	Deactivate(name string) error
	// MakeFileSystem makes an empty file system on a plaintext device.
	MakeFileSystem(ctx context.Context, path string) error
	Mount(path, target string) error
	Unmount(target string) error
}

// File is an open disk.
type File interface {
	luks.Disk
	Close() error
}

// Volume is an open, mounted data disk.
type Volume struct {
	Formatted  bool   // this boot made its file system
	Renewed    bool   // this boot gave it the key of a newer epoch
	Generation uint64 // what the disk says

	mountPoint string
	system     System
	mounted    bool
}

// Open opens the disk, or formats it where that is allowed, and mounts it. The
// disk is read only until its header and key have been found good. Whatever
// fails later leaves nothing mounted and nothing mapped.
func Open(ctx context.Context, o Options) (*Volume, error) {
	u, err := unlock(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("data disk %s: %w", o.Device, err)
	}
	defer clear(u.key[:])
	path, err := o.System.Activate(mapName, o.Device, u.size, u.key)
	if err != nil {
		return nil, err
	}
	v := &Volume{Formatted: u.formatted, mountPoint: o.MountPoint, system: o.System}
	err = v.mount(ctx, path, o)
	if err == nil && u.stale { // only now: an old copy of the disk stays as it was
		v.Renewed = true
		err = renew(ctx, o)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("data disk %s: %w", o.Device, err), v.Close())
	}
	return v, nil
}

// unlocked is a disk whose volume key is known.
type unlocked struct {
	key       *luks.VolumeKey
	size      int64
	formatted bool
	stale     bool // its header is to be renewed
}

// unlock opens the disk's header. It writes only to a blank disk of generation 0.
func unlock(ctx context.Context, o Options) (u unlocked, err error) {
	disk, size, err := o.System.Open(o.Device, false)
	if err != nil {
		return u, err
	}
	defer disk.Close()
	if size <= luks.PayloadOffset {
		return u, fmt.Errorf("it has %d bytes, want more than %d", size, luks.PayloadOffset)
	}
	u.size = size
	blank, err := luks.Blank(disk)
	if err != nil {
		return u, err
	}
	if blank {
		if o.Generation > 0 {
			return u, fmt.Errorf("%w (generation %d): attach the right disk, or accept the loss as the owner", ErrGone, o.Generation)
		}
		u.formatted = true
		u.key, err = format(ctx, o)
		return u, err
	}
	u.key, u.stale, err = luks.Open(disk, o.Key, o.Older...)
	if errors.Is(err, luks.ErrHeader) && o.Generation == 0 {
		err = fmt.Errorf("%w: the key manager knows no data of this instance: if this is its own disk, its first format was interrupted; give it an empty one", err)
	}
	return u, err
}

func renew(ctx context.Context, o Options) error {
	disk, err := o.System.Share(o.Device)
	if err != nil {
		return err
	}
	return errors.Join(o.System.Renew(ctx, disk, o.Key, o.Older...), disk.Close())
}

func format(ctx context.Context, o Options) (*luks.VolumeKey, error) {
	disk, _, err := o.System.Open(o.Device, true)
	if err != nil {
		return nil, err
	}
	key, err := o.System.Format(ctx, disk, o.Key)
	if err := errors.Join(err, disk.Close()); err != nil {
		return nil, err
	}
	return key, nil
}

// mount mounts the plaintext device and checks the generation. A file system
// is made on a disk that was just formatted, and on one whose first format
// was interrupted before: see the package comment.
func (v *Volume) mount(ctx context.Context, path string, o Options) error {
	err := errNoFileSystem
	if !v.Formatted {
		err = v.system.Mount(path, v.mountPoint)
	}
	if errors.Is(err, errNoFileSystem) && o.Generation == 0 && (v.Formatted || !o.Uncounted) {
		v.Formatted = true
		if err := v.system.MakeFileSystem(ctx, path); err != nil {
			return err
		}
		err = v.system.Mount(path, v.mountPoint)
	}
	if err != nil {
		return err
	}
	v.mounted = true
	v.Generation, err = readGeneration(v.mountPoint)
	if err != nil {
		return err
	}
	return checkGeneration(v.Generation, o.Generation)
}

// errNoFileSystem is wrapped by System.Mount when the device holds no
// consistent file system, as opposed to one that could not be read.
var errNoFileSystem = errors.New("no file system")

// noFileSystem tells the errors of mount(2) that mean that from the others: a
// bad superblock, metadata that contradicts itself, a checksum that fails.
func noFileSystem(err error) bool {
	return errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.EUCLEAN) || errors.Is(err, syscall.EBADMSG)
}

// SetGeneration writes n to the disk and syncs it. Tell the chain afterwards.
func (v *Volume) SetGeneration(n uint64) error {
	if err := writeGeneration(v.mountPoint, n); err != nil {
		return err
	}
	v.Generation = n
	return nil
}

// Close unmounts the disk and makes the kernel forget its key. It tries to
// remove the mapping even when unmounting fails, and may be called again.
func (v *Volume) Close() error {
	var errs []error
	if v.mounted {
		if err := v.system.Unmount(v.mountPoint); err != nil {
			errs = append(errs, err)
		} else {
			v.mounted = false
		}
	}
	return errors.Join(append(errs, v.system.Deactivate(mapName))...)
}
