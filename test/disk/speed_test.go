//go:build e2e

package disk

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"testing"
)

var (
	speed = flag.Bool("speed", false, "measure how fast disks are")
	cpu   = flag.String("cpu", softCPU, "speed: the processor, as QEMU's option")
	limit = flag.Int("limit", 0, "speed: of the disk, in megabytes a second, and 30 requests for each")
)

// TestDiskSpeed compares the disk as it is, encrypted, and with integrity, in one
// machine: medians of three.
func TestDiskSpeed(t *testing.T) {
	if !*speed {
		t.Skip("only with -speed")
	}
	const size = 768 << 20
	m := newBench(t).start(t, machineOptions{size: size, cpu: *cpu, limit: *limit})
	// The host's file is there before it is measured.
	f, err := os.OpenFile(m.disk(), os.O_WRONLY, 0)
	must(t, err)
	for off := int64(0); off < size; off += 1 << 20 {
		_, err := f.WriteAt(slices.Repeat([]byte{1}, 1<<20), off)
		must(t, err)
	}
	must(t, f.Close())

	type figure struct{ device, kind string }
	rates, busy := make(map[figure][]float64), make(map[figure][]float64)
	if failed := m.do(order{Job: "speed"}, func(s said) {
		at := figure{s.Device, s.Kind}
		rates[at], busy[at] = append(rates[at], s.Rate), append(busy[at], s.Busy)
	}); failed != "" {
		t.Fatal(failed)
	}
	median := func(m map[figure][]float64, device, kind string) float64 {
		r := m[figure{device, kind}]
		if len(r) == 0 {
			t.Fatalf("%s %s was not measured", device, kind)
		}
		slices.Sort(r)
		return r[len(r)/2]
	}
	t.Logf("writing all of a disk with integrity before its first use: %.1f MB/s", median(rates, "integrity", "format")/1e6)
	for _, kind := range []string{"read 1M", "write 1M", "read 4k", "write 4k", "fsync 4k"} {
		line := fmt.Sprintf("%-9s", kind)
		raw := median(rates, "raw", kind)
		for _, device := range []string{"raw", "encrypted", "integrity"} {
			rate := median(rates, device, kind)
			line += fmt.Sprintf("  %s %7.2f MB/s (%.2f, %3.0f %% busy)", device, rate/1e6, rate/raw, 100*median(busy, device, kind))
		}
		t.Log(line)
	}
}
