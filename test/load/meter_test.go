//go:build load

package load

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// clockTick is the unit of times in /proc/PID/stat, on every Linux that Go
// knows.
const clockTick = 10 * time.Millisecond

// cpu is the processor time that a process has used.
func (p *process) cpu(t *testing.T) time.Duration {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	must(t, err)
	_, rest, _ := strings.Cut(string(b), ") ")
	fields := strings.Fields(rest)
	var user, system int64
	_, err = fmt.Sscan(fields[11]+" "+fields[12], &user, &system) // proc_pid_stat(5)
	must(t, err)
	return time.Duration(user+system) * clockTick
}

// memory is what a process has in memory, in MiB: all of it, and without what
// the kernel can read from files again.
func (p *process) memory(t *testing.T) (all, anonymous float64) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	must(t, err)
	for line := range strings.Lines(string(b)) {
		var kib float64
		switch name, value, _ := strings.Cut(line, ":"); name {
		case "VmRSS", "RssAnon":
			_, err := fmt.Sscan(value, &kib)
			must(t, err)
			if name == "VmRSS" {
				all = kib / 1024
			} else {
				anonymous = kib / 1024
			}
		}
	}
	return all, anonymous
}

// own is the processor time of this process: the machines.
func own(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	must(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// usage is what nodes and machines have used since the last look.
type usage struct {
	nodes    map[*process]time.Duration
	machines time.Duration
}

func (c *committee) usage(t *testing.T) usage {
	t.Helper()
	u := usage{nodes: map[*process]time.Duration{}, machines: own(t)}
	for _, p := range c.nodes {
		u.nodes[p] = p.cpu(t)
	}
	return u
}

// since is the processor time of all nodes and of the machines.
func (u usage) since(before usage) (nodes, machines time.Duration) {
	for p, now := range u.nodes {
		nodes += now - before.nodes[p]
	}
	return nodes, u.machines - before.machines
}

// of is a percentile of durations, in milliseconds.
func of(took []time.Duration, percent int) float64 {
	sorted := slices.Sorted(slices.Values(took))
	return float64(sorted[min(len(sorted)-1, len(sorted)*percent/100)].Microseconds()) / 1000
}

// spread tells how long releases took.
func spread(took []time.Duration) string {
	return fmt.Sprintf("p50 %.0f ms, p95 %.0f ms, p99 %.0f ms, longest %.0f ms", of(took, 50), of(took, 95), of(took, 99), of(took, 100))
}
