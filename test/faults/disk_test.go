//go:build faults

package faults

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// smallDisk gives a home a file system of its own, where the test may mount one.
func (c *chainOfFour) smallDisk(t *testing.T, dir string) {
	t.Helper()
	must(t, os.MkdirAll(dir, 0o700))
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=512m,mode=700"); err != nil {
		t.Logf("mounting a small disk needs root (%v): the full disk is one that takes no byte more of this process", err)
		return
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	c.disk = filepath.Join(dir, "ballast")
}

// fillDisk takes all room on the node's disk, or all that it may write.
func fillDisk(t *testing.T, c *chainOfFour, v *process) {
	if c.disk == "" {
		var old unix.Rlimit
		must(t, unix.Prlimit(v.cmd.Process.Pid, unix.RLIMIT_FSIZE, nil, &old))
		must(t, unix.Prlimit(v.cmd.Process.Pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Max: old.Max}, nil))
		return
	}
	f, err := os.Create(c.disk)
	must(t, err)
	defer func() { _ = f.Close() }()
	for _, size := range []int{1 << 20, 4 << 10, 1} {
		for block := make([]byte, size); err == nil; {
			_, err = f.Write(block)
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("fill the disk: %v", err)
		}
		err = nil
	}
}

// emptyDisk makes room again, once the node has noticed that there is none.
func emptyDisk(t *testing.T, c *chainOfFour, v *process) {
	_, noticed := c.within(t, 30*time.Second, func() bool { return len(v.ends) > 0 })
	if c.disk != "" {
		must(t, os.Remove(c.disk))
	}
	if !noticed {
		c.violate(t, "node %d lived on with a full disk", v.index)
	}
}
