package soft

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// PortName is the virtio-serial port that the host gives its soft TEE.
const PortName = "tee.0"

// retry is how long to wait before a port that another process holds is tried
// again: the kernel lets one process open it at a time.
const retry = 20 * time.Millisecond

// FindPort returns the device node of the soft TEE's port ("/dev/vport1p1").
// The error wraps os.ErrNotExist when the machine has no such port.
func FindPort() (string, error) { return findPort("/sys/class/virtio-ports", "/dev") }

// findPort needs no udev: the names are in sysfs, the nodes in devtmpfs.
func findPort(sysfs, dev string) (string, error) {
	names, err := filepath.Glob(filepath.Join(sysfs, "*", "name"))
	if err != nil {
		return "", fmt.Errorf("list virtio-serial ports: %w", err)
	}
	for _, name := range names {
		content, err := os.ReadFile(name)
		if err != nil {
			return "", fmt.Errorf("read name of virtio-serial port: %w", err)
		}
		if strings.TrimSpace(string(content)) == PortName {
			return filepath.Join(dev, filepath.Base(filepath.Dir(name))), nil
		}
	}
	return "", fmt.Errorf("virtio-serial port %q: %w", PortName, os.ErrNotExist)
}

// Open makes the Device of the port at path. The port itself is opened at the
// first request.
func Open(path string) *Device {
	return NewDevice(func(ctx context.Context) (Conn, error) { return openPort(ctx, path) })
}

// openPort opens the port for reading and writing in non-blocking mode, so that
// deadlines work, and waits while another process still holds it.
func openPort(ctx context.Context, path string) (*os.File, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|syscall.O_NONBLOCK, 0)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, syscall.EBUSY) {
			return nil, fmt.Errorf("open port of soft TEE: %w", err)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("open port of soft TEE, which another process holds: %w", ctx.Err())
		case <-time.After(retry):
		}
	}
}
