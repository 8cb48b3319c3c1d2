package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/secretvm/secretvm/disk/luks"
	"github.com/secretvm/secretvm/disk/volume"
)

const (
	mountPoint = "/data"
	// recordSize makes every record a block: its number, repeated.
	recordSize = 4096
	// advanceEvery is how many records lie between two generations.
	advanceEvery = 6
)

var system = volume.Linux{Run: direct{}, Cryptsetup: "/usr/sbin/cryptsetup", MakeExt4: "/usr/sbin/mkfs.ext4"}

func (o order) open(ctx context.Context, device string) (*volume.Volume, error) {
	return volume.Open(ctx, volume.Options{
		Device: device, MountPoint: mountPoint, Generation: o.Generation, Integrity: o.Integrity,
		Key: key(o.Epoch), Older: older(o.Epoch),
		System: system,
	})
}

// use does what a boot does with its disk, and then what a database does: it
// appends records and promises of each that it is kept, after fsync. Beside them
// files come and go that nobody syncs.
func (o order) use(ctx context.Context, device string) error {
	v, err := o.open(ctx, device)
	if err != nil {
		return err
	}
	return errors.Join(o.work(v), v.Close())
}

// ephemeral uses a disk whose key is forgotten.
func (o order) ephemeral(ctx context.Context, device string) error {
	v, err := volume.OpenEphemeral(ctx, volume.Options{Device: device, MountPoint: mountPoint, Integrity: o.Integrity, System: system})
	if err != nil {
		return err
	}
	return errors.Join(writeContent(o.Content), v.Close())
}

func (o order) work(v *volume.Volume) error {
	kept, err := readRecords()
	if err != nil {
		return err
	}
	if err := sound(); err != nil {
		return err
	}
	var st unix.Statfs_t
	if err := unix.Statfs(mountPoint, &st); err != nil {
		return fmt.Errorf("size of the file system: %w", err)
	}
	say(map[string]any{"formatted": v.Formatted, "renewed": v.Renewed, "grown": v.Grown, "generation": v.Generation, "records": kept, "bytes": st.Blocks * uint64(st.Bsize)})
	next := o.Generation + 1
	if err := v.SetGeneration(next); err != nil {
		return err
	}
	if err := promise("advanced", next); err != nil {
		return err
	}
	if o.Content > 0 {
		if err := writeContent(o.Content); err != nil {
			return err
		}
	}
	for n := range o.Records {
		if err := errors.Join(noise(), writeRecord(kept+n)); err != nil {
			return err
		}
		if err := promise("kept", kept+n+1); err != nil {
			return err
		}
		if n%advanceEvery != advanceEvery-1 {
			continue
		}
		next++
		if err := v.SetGeneration(next); err != nil {
			return err
		}
		if err := promise("advanced", next); err != nil {
			return err
		}
	}
	return nil
}

// key is the disk's key of an epoch.
func key(epoch uint64) (k luks.Key) {
	binary.LittleEndian.PutUint64(k[:], epoch+1)
	return k
}

// older are the keys of before: the power may have gone in every renewal since.
func older(epoch uint64) (out []luks.Key) {
	for e := epoch; e > 0 && len(out) < 20; e-- {
		out = append(out, key(e-1))
	}
	return out
}

func record(n uint64) []byte {
	var word [8]byte
	binary.LittleEndian.PutUint64(word[:], n+1)
	return bytes.Repeat(word[:], recordSize/len(word))
}

// readRecords counts records from the first on. The last may be torn, for nothing
// was said of it; one that is wrong before it is an error.
func readRecords() (n uint64, err error) {
	b, err := os.ReadFile(filepath.Join(mountPoint, "records"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read records: %w", err)
	}
	for ; len(b) >= recordSize && bytes.Equal(b[:recordSize], record(n)); n++ {
		b = b[recordSize:]
	}
	return n, nil
}

func writeRecord(n uint64) error {
	f, err := os.OpenFile(filepath.Join(mountPoint, "records"), os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = f.WriteAt(record(n), int64(n)*recordSize)
		err = errors.Join(err, f.Sync(), f.Close())
	}
	if err != nil {
		return fmt.Errorf("write record %d: %w", n, err)
	}
	return nil
}

// noise makes, moves and removes files, so that whatever is cut is busy.
func noise() error {
	name := func() string { return filepath.Join(mountPoint, "noise", fmt.Sprint(rand.IntN(12))) }
	if err := os.MkdirAll(filepath.Dir(name()), 0o700); err != nil {
		return fmt.Errorf("make noise: %w", err)
	}
	if err := os.WriteFile(name(), make([]byte, rand.IntN(40_000)), 0o600); err != nil {
		return fmt.Errorf("make noise: %w", err)
	}
	for _, err := range []error{os.Rename(name(), name()), os.Remove(name())} {
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("make noise: %w", err)
		}
	}
	return nil
}

// sound reads every file, and asks the kernel whether the file system has ever
// contradicted itself.
func sound() error {
	err := filepath.WalkDir(mountPoint, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			_, err = os.ReadFile(path)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("read all files: %w", err)
	}
	counts, err := filepath.Glob("/sys/fs/ext4/dm-*/errors_count")
	if err != nil || len(counts) != 1 {
		return fmt.Errorf("%d mounted file systems: %w", len(counts), err)
	}
	if b, err := os.ReadFile(counts[0]); err != nil || string(b) != "0\n" {
		return fmt.Errorf("the file system has errors: %q, %w", b, err)
	}
	return nil
}
