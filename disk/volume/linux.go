package volume

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/secretvm/secretvm/disk/integrity"
	"github.com/secretvm/secretvm/disk/luks"
)

// Linux is the real System: block devices, dm-crypt, ext4.
type Linux struct {
	Run        luks.Runner
	Cryptsetup string // path of Debian's cryptsetup
	MakeExt4   string // path of mkfs.ext4
	// Progress, if set, is told how much of a disk with integrity is written, in
	// percent, before its first use.
	Progress func(percent int)
}

// Open implements System.
func (Linux) Open(device string, write bool) (File, int64, error) {
	flags := os.O_RDONLY
	if write {
		flags = os.O_RDWR | syscall.O_EXCL // of a block device: nobody else has it open or mounted
	}
	f, err := os.OpenFile(device, flags, 0)
	if err != nil {
		return nil, 0, fmt.Errorf("open disk: %w", err)
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, 0, errors.Join(fmt.Errorf("read size of disk: %w", err), f.Close())
	}
	return f, size, nil
}

// Format implements System.
func (l Linux) Format(ctx context.Context, disk luks.Disk, key luks.Key) (*luks.VolumeKey, error) {
	_, volume, err := luks.Format(ctx, l.Run, l.Cryptsetup, disk, key)
	return volume, err
}

// Share implements System.
func (Linux) Share(device string) (File, error) {
	f, err := os.OpenFile(device, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("open disk: %w", err)
	}
	return f, nil
}

// Renew implements System.
func (l Linux) Renew(ctx context.Context, disk luks.Disk, current luks.Key, older ...luks.Key) error {
	return luks.Renew(ctx, l.Run, l.Cryptsetup, disk, current, older...)
}

// Activate implements System.
func (Linux) Activate(name, device string, size int64, key *luks.VolumeKey) (string, error) {
	return luks.Activate(name, device, size, key)
}

// Deactivate implements System.
func (Linux) Deactivate(name string) error { return luks.Deactivate(name) }

// ActivateChecked implements System.
func (Linux) ActivateChecked(name, lower string, key *luks.VolumeKey) (string, error) {
	keys, err := integrity.Derive(key[:])
	if err != nil {
		return "", err
	}
	defer keys.Wipe()
	return integrity.Activate(name, lower, &keys)
}

// FormatChecked implements System.
func (l Linux) FormatChecked(name, lower string, key *luks.VolumeKey) error {
	keys, err := integrity.Derive(key[:])
	if err != nil {
		return err
	}
	defer keys.Wipe()
	progress := l.Progress
	if progress == nil {
		progress = func(int) {}
	}
	return integrity.Format(name, lower, &keys, progress)
}

// MakeFileSystem makes an ext4 with a journal. Inode tables are initialised
// lazily; so is the journal, whose blocks carry checksums: what lies there
// before is noise under a new key and cannot pass for a transaction.
func (l Linux) MakeFileSystem(ctx context.Context, path string) error {
	cmd := exec.CommandContext(ctx, l.MakeExt4, "-q", "-F", "-L", "data", "-m", "1", "-O", "has_journal,metadata_csum",
		"-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard", path)
	if out, err := l.Run.Run(ctx, cmd); err != nil {
		return fmt.Errorf("make file system: mkfs.ext4: %w: %s", err, out)
	}
	return nil
}

// Mount mounts ext4. Device files on it are dead (containers get theirs on a
// tmpfs); setuid programs in volumes work as they do under any Docker.
func (Linux) Mount(path, target string) error {
	err := unix.Mount(path, target, "ext4", unix.MS_NODEV|unix.MS_NOATIME, "errors=remount-ro")
	switch {
	case err == nil:
		return nil
	case noFileSystem(err):
		return fmt.Errorf("mount %s: %w: %w", path, errNoFileSystem, err)
	default:
		return fmt.Errorf("mount %s: %w", path, err)
	}
}

// Unmount unmounts target, waiting a little for the last users to go. What
// stays busy is made read-only, so that it is whole on the disk.
func (Linux) Unmount(target string) error {
	var err error
	for range 20 {
		if err = unix.Unmount(target, 0); !errors.Is(err, unix.EBUSY) {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if err == nil {
		return nil
	}
	ro := unix.Mount("", target, "", unix.MS_REMOUNT|unix.MS_RDONLY, "")
	return errors.Join(fmt.Errorf("unmount %s: %w", target, err), ro)
}
