package main

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/secretvm/secretvm/disk/devmapper"
	"github.com/secretvm/secretvm/disk/integrity"
	"github.com/secretvm/secretvm/disk/luks"
)

const (
	rounds = 3
	// sample is how long one figure is measured: longer than a limited disk's bursts.
	sample = 1200 * time.Millisecond
	// span is the part of a layer that is read and written, from this many bytes on.
	from, span = 32 << 20, 192 << 20
)

// speed measures the disk as it is, encrypted, and encrypted with integrity, past
// the page cache, in turns. Each has a third of the disk.
func (o order) speed(device string) error {
	size, err := sizeOf(device)
	if err != nil {
		return err
	}
	third := size / 3 &^ (1<<20 - 1)
	key := luks.VolumeKey{1, 2, 3}
	plain, err := luks.Activate("plain", device, third, &key)
	if err != nil {
		return err
	}
	part, err := devmapper.Create("part", "SECRETVM-part", false, devmapper.Target{Type: "linear", Sectors: uint64(third / 512), Params: fmt.Appendf(nil, "%s %d", device, third/512)})
	if err != nil {
		return err
	}
	lower, err := luks.Activate("checked-crypt", part, third, &key)
	if err != nil {
		return err
	}
	keys, err := integrity.Derive(key[:])
	if err != nil {
		return err
	}
	began := time.Now()
	if err := integrity.Format("checked", lower, &keys, func(int) {}); err != nil {
		return err
	}
	say(map[string]any{"device": "integrity", "kind": "format", "rate": float64(third) / time.Since(began).Seconds()})
	checked, err := integrity.Activate("checked", lower, &keys)
	if err != nil {
		return err
	}
	layers := []layer{{"raw", device, 2 * third}, {"encrypted", plain, from}, {"integrity", checked, from}}
	for round := range rounds {
		for _, w := range workloads {
			for i := range layers {
				if err := w.run(layers[(i+round)%len(layers)]); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// layer is what is read and written: a device, from some byte on.
type layer struct {
	name, device string
	at           int64
}

func sizeOf(device string) (int64, error) {
	f, err := os.Open(device)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return f.Seek(0, io.SeekEnd)
}

// workload is one way of reading or writing: so many requests at a time.
type workload struct {
	kind          string
	block         int
	workers       int
	write, random bool
	sync          bool // after every write
}

var workloads = []workload{
	{kind: "read 1M", block: 1 << 20, workers: 4},
	{kind: "write 1M", block: 1 << 20, workers: 4, write: true},
	{kind: "read 4k", block: 4096, workers: 4, random: true},
	{kind: "write 4k", block: 4096, workers: 4, write: true, random: true},
	{kind: "fsync 4k", block: 4096, workers: 1, write: true, random: true, sync: true},
}

// run says how many bytes a second were read or written, and which share of the
// processors that took.
func (w workload) run(l layer) error {
	f, err := os.OpenFile(l.device, os.O_RDWR|unix.O_DIRECT, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil { // of what was measured before
		return err
	}
	var wg sync.WaitGroup
	totals, errs := make([]int64, w.workers), make([]error, w.workers)
	busy, began := ticks(), time.Now()
	for i := range w.workers {
		wg.Go(func() { totals[i], errs[i] = w.work(f, l.at, i, began.Add(sample)) })
	}
	wg.Wait()
	if w.write {
		errs = append(errs, f.Sync())
	}
	took := time.Since(began)
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%s %s: %w", l.name, w.kind, err)
	}
	var sum int64
	for _, n := range totals {
		sum += n
	}
	now := ticks()
	say(map[string]any{"device": l.name, "kind": w.kind, "rate": float64(sum) / took.Seconds(), "busy": float64(now.busy-busy.busy) / float64(max(1, now.all-busy.all))})
	return nil
}

func (w workload) work(f *os.File, at int64, worker int, end time.Time) (total int64, err error) {
	buf, err := unix.Mmap(-1, 0, w.block, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON) // aligned as O_DIRECT wants it
	if err != nil {
		return 0, err
	}
	defer func() { _ = unix.Munmap(buf) }()
	for n := worker; time.Now().Before(end); n += w.workers {
		off := int64(n) * int64(w.block) % span
		if w.random {
			off = rand.Int64N(span/int64(w.block)) * int64(w.block)
		}
		switch {
		case !w.write:
			_, err = f.ReadAt(buf, at+off)
		default:
			_, err = f.WriteAt(buf, at+off)
		}
		if err == nil && w.sync {
			err = unix.Fdatasync(int(f.Fd()))
		}
		if err != nil {
			return total, err
		}
		total += int64(w.block)
	}
	return total, nil
}

// jiffies of all processors since boot.
type jiffies struct{ busy, all uint64 }

// ticks reads them from the first line of /proc/stat: user, nice, system, idle,
// waiting, and others.
func ticks() (t jiffies) {
	b, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(b), "\n")
	for i, word := range strings.Fields(line)[1:] {
		n, _ := strconv.ParseUint(word, 10, 64)
		if t.all += n; i != 3 && i != 4 {
			t.busy += n
		}
	}
	return t
}
