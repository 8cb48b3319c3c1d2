// Package devmapper sets up device-mapper devices of one target through the
// kernel's ioctl interface (linux/dm-ioctl.h, version 4), without libdevmapper
// and udev. It decides nothing: targets and parameters are the callers'.
package devmapper

import (
	"encoding/binary"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// controlPath is the device that devtmpfs makes once dm_mod is loaded.
const controlPath = "/dev/mapper/control"

// Target is one line of a device-mapper table that covers the whole device.
type Target struct {
	Type    string // "verity", "crypt"
	Sectors uint64 // length in units of 512 bytes
	Params  []byte // the target's parameters, without a final NUL
	Secret  bool   // Params hold a key: the kernel wipes its copies
}

// Create makes the device name with one target, activates it and returns its
// path, "/dev/dm-N". On an error nothing is left behind.
func Create(name, uuid string, readOnly bool, t Target) (path string, err error) {
	var flags uint32
	if readOnly {
		flags |= flagReadOnly
	}
	created, err := do(cmdCreate, request{name: name, uuid: uuid})
	if err != nil {
		return "", fmt.Errorf("create mapped device %s: %w", name, err)
	}
	defer func() {
		if err != nil {
			_, _ = do(cmdRemove, request{name: name})
		}
	}()
	load := request{name: name, flags: flags, target: &t}
	if t.Secret {
		load.flags |= flagSecure
	}
	if _, err = do(cmdLoad, load); err != nil {
		return "", fmt.Errorf("load %s table of mapped device %s: %w", t.Type, name, err)
	}
	// Suspend without the suspend flag resumes, which makes the table live.
	if _, err = do(cmdSuspend, request{name: name, flags: flags}); err != nil {
		return "", fmt.Errorf("activate mapped device %s: %w", name, err)
	}
	return fmt.Sprintf("/dev/dm-%d", unix.Minor(created)), nil
}

// Remove takes the device name away. It fails while the device is in use.
func Remove(name string) error {
	if _, err := do(cmdRemove, request{name: name}); err != nil {
		return fmt.Errorf("remove mapped device %s: %w", name, err)
	}
	return nil
}

// do makes one call.
func do(cmd uintptr, r request) (dev uint64, err error) {
	control, err := os.OpenFile(controlPath, os.O_RDWR, 0)
	if err != nil {
		return 0, fmt.Errorf("open device mapper: %w", err)
	}
	defer control.Close()
	buf, err := r.encode()
	if err != nil {
		return 0, err
	}
	defer clear(buf)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, control.Fd(), cmd, uintptr(unsafe.Pointer(&buf[0]))); errno != 0 {
		return 0, errno
	}
	return binary.NativeEndian.Uint64(buf[offDev:]), nil
}
