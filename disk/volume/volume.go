package volume

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/secretvm/secretvm/disk/integrity"
	"github.com/secretvm/secretvm/disk/luks"
)

// Names of device-mapper devices: what is mounted, and what lies below it where
// blocks are checked.
const (
	mapName   = "data"
	lowerName = "data-crypt"
)

// Options says which disk to open how. Mount point and tools are the caller's
// because the image decides where they are.
type Options struct {
	Device     string // block device, e.g. /dev/vdc
	MountPoint string
	Key        luks.Key
	Older      []luks.Key // keys of earlier epochs, newest first: a disk that opens with one of them is given Key
	Generation uint64     // what the chain says
	Integrity  bool       // every block carries a tag, and one that was changed is a read error
	Uncounted  bool       // nobody counts: Generation is 0 always, and only a blank disk is ever written to
	System     System
	Lap        func(part string) // is told when a part is done; nil: nobody is
}

func (o Options) lap(part string) {
	if o.Lap != nil {
		o.Lap(part)
	}
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
	// ActivateChecked makes the device that checks every block of a plaintext
	// device, and returns its path. integrity.ErrSuperblock says that FormatChecked
	// has not prepared it.
	ActivateChecked(name, lower string, key *luks.VolumeKey) (path string, err error)
	// FormatChecked prepares a plaintext device for that. It writes all of it.
	FormatChecked(name, lower string, key *luks.VolumeKey) error
	// Grow makes a mounted file system as large as its device, which the host may
	// have enlarged, and says whether there was anything to do.
	Grow(path, target string) (grown bool, err error)
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
	Grown      bool   // this boot found the disk larger than its file system
	Renewed    bool   // this boot gave it the key of a newer epoch
	Generation uint64 // what the disk says

	mountPoint string
	system     System
	mounted    bool
	mapped     []string // names of devices, lowest first
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
	v := &Volume{Formatted: u.formatted, mountPoint: o.MountPoint, system: o.System}
	err = v.open(ctx, u, o)
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
		o.lap("check")
		u.key, err = format(ctx, o)
		o.lap("header")
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

// open maps and mounts an unlocked disk and checks the generation. A file system
// is made on a disk that was just formatted, and on one whose first format was
// interrupted before: see the package comment.
func (v *Volume) open(ctx context.Context, u unlocked, o Options) error {
	name := mapName
	if o.Integrity {
		name = lowerName
	}
	o.lap("check")
	lower, err := v.system.Activate(name, o.Device, u.size, u.key)
	if err != nil {
		return err
	}
	o.lap("activate")
	v.mapped = append(v.mapped, name)

	again := o.Generation == 0 && (v.Formatted || !o.Uncounted) // the first format may be made, or repeated
	path, err := lower, errNoFileSystem
	if !v.Formatted {
		path, err = v.mount(lower, u, o)
	}
	if errors.Is(err, errNoFileSystem) && again {
		v.Formatted = true
		if err := v.format(ctx, path, lower, u, o); err != nil {
			return err
		}
		o.lap("mkfs")
		path, err = v.mount(lower, u, o)
	}
	if err != nil {
		return err
	}
	v.mounted = true
	v.Generation, err = readGeneration(v.mountPoint)
	if err != nil {
		return err
	}
	if err := checkGeneration(v.Generation, o.Generation); err != nil {
		return err
	}
	v.Grown, err = v.system.Grow(path, v.mountPoint)
	return err
}

// mount maps the checked device, where there is to be one, and mounts. It returns
// the path of what it mounted.
func (v *Volume) mount(lower string, u unlocked, o Options) (path string, err error) {
	if path = lower; o.Integrity {
		path, err = v.system.ActivateChecked(mapName, lower, u.key)
		if errors.Is(err, integrity.ErrSuperblock) {
			err = fmt.Errorf("%w: %w", errNoFileSystem, err)
		}
		if err != nil {
			return lower, err
		}
		v.mapped = append(v.mapped, mapName)
	}
	err = v.system.Mount(path, v.mountPoint)
	o.lap("mount")
	// A file system whose first blocks were never written does not read there.
	if o.Integrity && errors.Is(err, syscall.EIO) && o.Generation == 0 {
		err = fmt.Errorf("%w: %w", errNoFileSystem, err)
	}
	return path, err
}

// format makes an empty file system.
func (v *Volume) format(ctx context.Context, path, lower string, u unlocked, o Options) error {
	if !o.Integrity {
		return v.system.MakeFileSystem(ctx, path)
	}
	if err := v.unmap(1); err != nil {
		return err
	}
	if err := v.system.FormatChecked(mapName, lower, u.key); err != nil {
		return err
	}
	path, err := v.system.ActivateChecked(mapName, lower, u.key)
	if err != nil {
		return err
	}
	v.mapped = append(v.mapped, mapName)
	return errors.Join(v.system.MakeFileSystem(ctx, path), v.unmap(1))
}

// unmap takes all mapped devices away but the lowest keep.
func (v *Volume) unmap(keep int) error {
	for len(v.mapped) > keep {
		last := len(v.mapped) - 1
		if err := v.system.Deactivate(v.mapped[last]); err != nil {
			return err
		}
		v.mapped = v.mapped[:last]
	}
	return nil
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
	return errors.Join(append(errs, v.unmap(0))...)
}
