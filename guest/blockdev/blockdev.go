// Package blockdev finds the disks that the host attached. A serial tells what
// a disk claims to be; what it is, its content has to show.
package blockdev

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/secretvm/secretvm/step"
)

// Serials of the virtio-blk disks of a machine.
const (
	Rootfs = "rootfs" // read-only: erofs and its hash tree
	Config = "config" // read-only: the config archive
	Data   = "data"   // the workload's encrypted disk
)

// patience is how long Find waits for a disk that is not there yet. Disks
// present at boot appear while their driver is loaded.
const patience = 5 * time.Second

// Find returns the device node of the disk with the given serial ("/dev/vda").
// Two disks with that serial are an error, since which one is meant would be
// the host's choice at each look.
func Find(ctx context.Context, serial string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return find(ctx, "/sys/block", "/dev", serial)
}

func find(ctx context.Context, sysfs, dev, serial string) (string, error) {
	for {
		disk, err := lookup(sysfs, serial)
		if err != nil {
			return "", err
		}
		if disk != "" {
			return filepath.Join(dev, disk), nil
		}
		if step.Pause(ctx, 10*time.Millisecond) != nil {
			return "", fmt.Errorf("disk with serial %q: %w", serial, os.ErrNotExist)
		}
	}
}

// lookup returns the name of the one virtio-blk disk with the serial, or "".
func lookup(sysfs, serial string) (string, error) {
	files, err := filepath.Glob(filepath.Join(sysfs, "vd*", "serial"))
	if err != nil {
		return "", fmt.Errorf("list disks: %w", err)
	}
	var found string
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return "", fmt.Errorf("read serial of disk: %w", err)
		}
		if strings.TrimRight(string(content), "\n\x00") != serial {
			continue
		}
		name := filepath.Base(filepath.Dir(file))
		if found != "" {
			return "", fmt.Errorf("disks %s and %s both have the serial %q", found, name, serial)
		}
		found = name
	}
	return found, nil
}
