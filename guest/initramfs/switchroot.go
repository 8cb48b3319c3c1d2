package initramfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// newRoot is where the root file system waits for its turn.
const newRoot = "/newroot"

// stage2 is the first program of the root file system.
const stage2 = "/usr/lib/secretvm/guestd"

// environment is all that stage 2 inherits: nothing of it comes from the
// kernel command line, from which the kernel fills init's environment.
var environment = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8"}

// SwitchRoot takes the kernel's file systems along, frees the initramfs's
// memory, makes newRoot the root and executes stage 2.
func (Linux) SwitchRoot() error {
	for _, dir := range []string{"/dev", "/proc", "/sys", "/run"} {
		if err := unix.Mount(dir, newRoot+dir, "", unix.MS_MOVE, ""); err != nil {
			return fmt.Errorf("move %s: %w", dir, err)
		}
	}
	if err := os.Chdir(newRoot); err != nil {
		return err
	}
	if err := free("/"); err != nil {
		return err
	}
	// pivot_root does not work on the kernel's first root; this is its way
	// (Documentation/filesystems/ramfs-rootfs-initramfs.rst in Linux).
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move the new root to /: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("change root: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	return fmt.Errorf("execute %s: %w", stage2, unix.Exec(stage2, []string{stage2}, environment))
}

// free removes what is on the file system of root, which must be the kernel's
// own in memory; other file systems mounted below stay untouched.
func free(root string) error {
	var kind unix.Statfs_t
	if err := unix.Statfs(root, &kind); err != nil {
		return fmt.Errorf("free initramfs: %w", err)
	}
	if kind.Type != unix.TMPFS_MAGIC && kind.Type != unix.RAMFS_MAGIC {
		return errors.New("free initramfs: the root is not a file system in memory")
	}
	var st unix.Stat_t
	if err := unix.Lstat(root, &st); err != nil {
		return fmt.Errorf("free initramfs: %w", err)
	}
	if err := removeBelow(root, st.Dev); err != nil {
		return fmt.Errorf("free initramfs: %w", err)
	}
	return nil
}

// removeBelow empties dir as far as it lies on the file system dev.
func removeBelow(dir string, dev uint64) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		if st.Dev != dev {
			continue // a mount point
		}
		if e.IsDir() {
			if err := removeBelow(path, dev); err != nil {
				return err
			}
		}
		// A folder that still holds a mount point cannot go.
		if err := os.Remove(path); err != nil && !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.ENOTEMPTY) {
			return err
		}
	}
	return nil
}
