// Package usage samples how much memory, disk and processor time a machine
// uses. It reads a few lines of /proc every few seconds, whoever asks: looking
// costs nothing.
package usage

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Sample is the state at one moment. The names are those of existing services;
// sizes are GiB with three decimals.
type Sample struct {
	MemoryUsed    float64 `json:"memory_used_gb"`
	MemoryTotal   float64 `json:"memory_total_gb"`
	DiskUsed      float64 `json:"disk_used_gb"`
	DiskTotal     float64 `json:"disk_total_gb"`
	MemoryPercent float64 `json:"memory_percent"`
	DiskPercent   float64 `json:"disk_percent"`
	CPUPercent    float64 `json:"cpu_percent"` // of all processors, since the sample before
}

// Samples are the last ones, newest last.
type Samples []Sample

// Now is the newest sample, zero before the first.
func (s Samples) Now() (now Sample) {
	if len(s) > 0 {
		now = s[len(s)-1]
	}
	return now
}

// Every is the time between samples, Kept how many are remembered.
const (
	Every = 5 * time.Second
	Kept  = 60
)

// Sampler takes samples.
type Sampler struct {
	Proc string // where procfs is mounted
	Disk string // a folder on the disk that counts; none while it is not there

	mu         sync.Mutex
	samples    Samples
	busy, idle uint64 // processor time at the last sample, in ticks
}

// Run samples until ctx ends.
func (s *Sampler) Run(ctx context.Context) {
	ticker := time.NewTicker(Every)
	defer ticker.Stop()
	for {
		s.take()
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// Samples returns what was sampled last.
func (s *Sampler) Samples() Samples {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append(Samples(nil), s.samples...)
}

// take takes one sample. What cannot be read counts as zero.
func (s *Sampler) take() {
	var now Sample
	memory := numbers(filepath.Join(s.Proc, "meminfo"))
	now.MemoryTotal, now.MemoryUsed, now.MemoryPercent = parts(memory["MemTotal:"][0]<<10, memory["MemAvailable:"][0]<<10)
	var fs unix.Statfs_t
	if unix.Statfs(s.Disk, &fs) == nil {
		now.DiskTotal, now.DiskUsed, now.DiskPercent = parts(fs.Blocks*uint64(fs.Bsize), fs.Bfree*uint64(fs.Bsize))
	}
	cpu := numbers(filepath.Join(s.Proc, "stat"))["cpu"]
	idle := cpu[3] + cpu[4] // idle, iowait: proc_stat(5)
	var busy uint64
	for i, ticks := range cpu[:8] {
		if i != 3 && i != 4 {
			busy += ticks
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if worked := float64(busy - s.busy); s.idle > 0 && busy >= s.busy && idle >= s.idle {
		now.CPUPercent = round(100 * worked / max(1, worked+float64(idle-s.idle)))
	}
	s.busy, s.idle = busy, idle
	s.samples = append(s.samples[max(0, len(s.samples)+1-Kept):], now)
}

// parts returns in GiB the whole and what of it is used, and the percentage.
func parts(total, free uint64) (whole, used, percent float64) {
	taken := total - min(free, total)
	return round(float64(total) / (1 << 30)), round(float64(taken) / (1 << 30)), round(100 * float64(taken) / max(1, float64(total)))
}

func round(x float64) float64 { return math.Round(1000*x) / 1000 }

// numbers reads lines of a word and up to ten numbers.
func numbers(path string) map[string][10]uint64 {
	out := map[string][10]uint64{}
	b, err := os.ReadFile(path)
	if err != nil {
		return out
	}
	for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
		name, rest, _ := strings.Cut(lines.Text(), " ")
		var n [10]uint64
		for i, field := range strings.Fields(rest) {
			if i == len(n) {
				break
			}
			_, _ = fmt.Sscan(field, &n[i]) // a unit stays zero
		}
		out[name] = n
	}
	return out
}
