package initramfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/secretvm/secretvm/disk/verity"
	"github.com/secretvm/secretvm/guest/blockdev"
	"github.com/secretvm/secretvm/guest/kmod"
	"github.com/secretvm/secretvm/tee"
	"github.com/secretvm/secretvm/vm"
)

// moduleList names the modules of the initramfs.
const moduleList = "/modules.list"

// configfs is where its module, once loaded, wants to be mounted; quotes of TDX
// go through it.
const configfs = "/sys/kernel/config"

// Linux is the System of a real machine.
type Linux struct{}

// MountBase mounts the kernel's file systems and a tmpfs on /run, and makes
// /dev/console the standard streams of this process and those after it.
func (Linux) MountBase() error {
	for _, m := range []struct {
		source, target string
		flags          uintptr
		data           string
	}{
		{"proc", "/proc", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
		{"sysfs", "/sys", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
		{"devtmpfs", "/dev", unix.MS_NOSUID | unix.MS_NOEXEC, "mode=0755"},
		{"tmpfs", "/run", unix.MS_NOSUID | unix.MS_NODEV, "mode=0755"},
	} {
		if err := mount(m.source, m.target, m.source, m.flags, m.data); err != nil {
			return err
		}
	}
	return attachConsole()
}

func mount(source, target, kind string, flags uintptr, data string) error {
	if err := os.MkdirAll(target, 0o755); err != nil {
		return fmt.Errorf("mount %s: %w", kind, err)
	}
	if err := unix.Mount(source, target, kind, flags, data); err != nil {
		return fmt.Errorf("mount %s on %s: %w", kind, target, err)
	}
	return nil
}

func attachConsole() error {
	fd, err := unix.Open("/dev/console", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open console: %w", err)
	}
	for stream := range 3 {
		if fd == stream {
			continue // the kernel had no console for us, so that this is it
		}
		if err := unix.Dup3(fd, stream, 0); err != nil {
			return fmt.Errorf("attach console: %w", err)
		}
	}
	if fd > 2 {
		return unix.Close(fd)
	}
	_, err = unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0)
	return err
}

// LoadModules loads what the builder listed, and mounts configfs where that
// brought it.
func (Linux) LoadModules() (int, error) {
	n, err := kmod.LoadList(moduleList)
	if err != nil {
		return n, err
	}
	if _, err := os.Stat(configfs); errors.Is(err, os.ErrNotExist) {
		return n, nil
	}
	return n, mount("configfs", configfs, "configfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
}

// OpenTEE returns the machine's TEE.
func (Linux) OpenTEE() (tee.Device, error) { return tee.Open() }

// CommandLine reads /proc/cmdline.
func (Linux) CommandLine() (string, error) {
	line, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return "", fmt.Errorf("read kernel command line: %w", err)
	}
	return string(line), nil
}

// OpenConfig opens the disk with the serial "config".
func (Linux) OpenConfig(ctx context.Context) (io.ReadCloser, error) {
	path, err := blockdev.Find(ctx, blockdev.Config)
	if err != nil {
		return nil, err
	}
	disk, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open config disk: %w", err)
	}
	return disk, nil
}

// MountRoot puts dm-verity over the disk with the serial "rootfs" and mounts
// the erofs in it, read-only.
func (Linux) MountRoot(ctx context.Context, v vm.Verity) error {
	path, err := blockdev.Find(ctx, blockdev.Rootfs)
	if err != nil {
		return err
	}
	if err := checkRoot(path, v); err != nil {
		return err
	}
	device, err := verity.Open(path, v)
	if err != nil {
		return err
	}
	return mount(device, newRoot, "erofs", unix.MS_RDONLY|unix.MS_NODEV|unix.MS_NOSUID, "")
}

func checkRoot(path string, v vm.Verity) error {
	disk, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open root file system's disk: %w", err)
	}
	defer disk.Close()
	size, err := disk.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("size of root file system's disk: %w", err)
	}
	return verity.Check(disk, size, v)
}

// HandOver writes one file of HandOverDir.
func (Linux) HandOver(name string, content []byte) error {
	if err := os.MkdirAll(HandOverDir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(HandOverDir, name), content, 0o400)
}

// PowerOff ends the machine at once. Should the kernel refuse, the process
// exits, which makes the kernel panic and, by panic=-1, reset the machine.
func PowerOff() {
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	os.Exit(1)
}
