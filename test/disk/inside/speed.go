package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/secretvm/secretvm/disk/integrity"
	"github.com/secretvm/secretvm/disk/luks"
	"github.com/secretvm/secretvm/guest/blockdev"
)

// fsSize is how large a file system says it is.
type fsSize struct{ bytes uint64 }

func (s *fsSize) of(path string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return fmt.Errorf("size of %s: %w", path, err)
	}
	s.bytes = st.Blocks * uint64(st.Bsize)
	return nil
}

// speed measures the disk as it is, encrypted, and encrypted with integrity, past
// the page cache, in this order, three times.
func speed(ctx context.Context) error {
	device, err := blockdev.Find(ctx, blockdev.Data)
	if err != nil {
		return err
	}
	size, err := sizeOf(device)
	if err != nil {
		return err
	}
	key := luks.VolumeKey{1, 2, 3}
	plain, err := luks.Activate("plain", device, size, &key)
	if err != nil {
		return err
	}
	if err := load("raw", device); err != nil { // host pages are allocated now
		return err
	}
	for range 3 {
		if err := errors.Join(load("raw", device), load("encrypted", plain)); err != nil {
			return err
		}
	}
	keys, err := integrity.Derive(key[:])
	if err != nil {
		return err
	}
	began := time.Now()
	if err := integrity.Format("checked", plain, &keys, func(int) {}); err != nil {
		return err
	}
	say(map[string]any{"device": "format", "seconds": time.Since(began).Seconds()})
	checked, err := integrity.Activate("checked", plain, &keys)
	if err != nil {
		return err
	}
	for range 3 {
		if err := errors.Join(load("raw-beside", device), load("integrity", checked)); err != nil {
			return err
		}
	}
	return nil
}

func sizeOf(device string) (int64, error) {
	f, err := os.Open(device)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return f.Seek(0, io.SeekEnd)
}

// load reads and writes a device in two ways, with four requests at a time.
func load(name, device string) error {
	for _, l := range []struct {
		kind   string
		size   int
		write  bool
		random bool
	}{{"read 1M", 1 << 20, false, false}, {"write 1M", 1 << 20, true, false}, {"read 4k", 4096, false, true}, {"write 4k", 4096, true, true}} {
		if name == "raw-beside" && l.write { // it would destroy what lies above it
			continue
		}
		rate, err := measure(device, l.size, l.write, l.random)
		if err != nil {
			return fmt.Errorf("%s %s: %w", name, l.kind, err)
		}
		say(map[string]any{"device": name, "kind": l.kind, "rate": rate})
	}
	return nil
}

// measure returns bytes in a second.
func measure(device string, block int, write, random bool) (float64, error) {
	const workers, patience, from, span = 4, 1500 * time.Millisecond, 32 << 20, 192 << 20
	f, err := os.OpenFile(device, os.O_RDWR|unix.O_DIRECT, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var wg sync.WaitGroup
	totals, errs := make([]int64, workers), make([]error, workers)
	began := time.Now()
	for w := range workers {
		wg.Go(func() {
			buf, err := unix.Mmap(-1, 0, block, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
			if err != nil {
				errs[w] = err
				return
			}
			defer func() { _ = unix.Munmap(buf) }()
			for at := int64(w * block); time.Since(began) < patience; at += int64(workers * block) {
				off := at % span
				if random {
					off = rand.Int64N(span/int64(block)) * int64(block)
				}
				if write {
					_, err = f.WriteAt(buf, from+off)
				} else {
					_, err = f.ReadAt(buf, from+off)
				}
				if err != nil {
					errs[w] = err
					return
				}
				totals[w] += int64(block)
			}
		})
	}
	wg.Wait()
	if write {
		errs = append(errs, f.Sync())
	}
	took := time.Since(began)
	var sum int64
	for _, n := range totals {
		sum += n
	}
	return float64(sum) / took.Seconds(), errors.Join(errs...)
}
