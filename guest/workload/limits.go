package workload

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// cgroup is the parent of all containers, below the root of cgroup v2. What
// serves the machine itself stays in the root.
const (
	cgroups = "/sys/fs/cgroup"
	cgroup  = "/workload"
)

// What containers leave to the machine, so that it can always say what it is.
const (
	minReserve = 448 << 20 // bytes of memory: the kernel, dockerd, its helpers for ten containers, guestd
	maxReserve = 2 << 30
	// cpuWeight of all containers together, where guestd has 100 by itself.
	cpuWeight = "50"
)

// reserve is what of the memory containers cannot have, in bytes.
func reserve(memory uint64) uint64 { return min(max(memory/8, minReserve), maxReserve) }

// controllers that limit containers, one by one and together.
var controllers = []string{"cpu", "cpuset", "io", "memory", "pids"}

// confine makes the cgroup of all containers, below root (/sys/fs/cgroup), for a
// machine with so much memory, in bytes, and so many threads.
func confine(root string, memory, threads uint64) error {
	folder := filepath.Join(root, cgroup)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("limit the workload: %w", err)
	}
	on := "+" + strings.Join(controllers, " +")
	var errs []error
	for _, w := range []struct{ name, value string }{
		{filepath.Join(root, "cgroup.subtree_control"), on},
		{filepath.Join(folder, "cgroup.subtree_control"), on},
		{filepath.Join(folder, "memory.max"), strconv.FormatUint(memory-min(memory/2, reserve(memory)), 10)},
		{filepath.Join(folder, "pids.max"), strconv.FormatUint(threads/4*3, 10)},
		{filepath.Join(folder, "cpu.weight"), cpuWeight},
		{filepath.Join(root, engineGroup, "cpu.weight"), engineWeight},
	} {
		if err := write(w.name, w.value); err != nil {
			errs = append(errs, fmt.Errorf("limit the workload: %w", err))
		}
	}
	return errors.Join(errs...)
}

// write writes to a file of the kernel, which is there.
func write(name, value string) error {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

// Confine holds all containers of this machine in limits that leave enough to
// what answers for it.
func Confine() error {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return fmt.Errorf("limit the workload: %w", err)
	}
	text, err := os.ReadFile("/proc/sys/kernel/threads-max")
	if err != nil {
		return fmt.Errorf("limit the workload: %w", err)
	}
	threads, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 32)
	if err != nil {
		return fmt.Errorf("limit the workload: %w", err)
	}
	return confine(cgroups, info.Totalram*uint64(info.Unit), threads)
}

// spare makes a process the last that dies where memory runs out. Docker gives
// containers the common score.
func spare(pid int) error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte("-999"), 0)
}
