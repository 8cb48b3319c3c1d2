package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/secretvm/secretvm/disk/luks"
	"github.com/secretvm/secretvm/disk/volume"
	"github.com/secretvm/secretvm/guest/blockdev"
)

// recordSize makes every record a block: its number, repeated.
const recordSize = 4096

// use does what a boot does with its disk, and then what a database does: it
// appends records and says of each that it is kept, after fsync.
func use(ctx context.Context, o map[string]string) error {
	device, err := blockdev.Find(ctx, blockdev.Data)
	if err != nil {
		return err
	}
	say(map[string]any{"opening": true})
	epoch := number(o, "epoch")
	v, err := volume.Open(ctx, volume.Options{
		Device: device, MountPoint: "/data", Generation: number(o, "generation"), Integrity: o["integrity"] == "1",
		Key: key(epoch), Older: older(epoch),
		System: volume.Linux{Run: direct{}, Cryptsetup: "/usr/sbin/cryptsetup", MakeExt4: "/usr/sbin/mkfs.ext4"},
	})
	if err != nil {
		return err
	}
	kept, err := readRecords()
	if err != nil {
		return err
	}
	var room fsSize
	if err := room.of("/data"); err != nil {
		return err
	}
	say(map[string]any{"formatted": v.Formatted, "renewed": v.Renewed, "grown": v.Grown, "generation": v.Generation, "records": kept, "bytes": room.bytes})
	next := number(o, "generation") + 1
	if err := v.SetGeneration(next); err != nil {
		return err
	}
	say(map[string]any{"advanced": next})
	if o["records"] == "0" {
		return v.Close()
	}
	return writeRecords(kept)
}

// key is the disk's key of an epoch.
func key(epoch uint64) (k luks.Key) {
	binary.LittleEndian.PutUint64(k[:], epoch+1)
	return k
}

// older are the keys of before: the power may have gone in every renewal since.
func older(epoch uint64) (out []luks.Key) {
	for e := epoch; e > 0 && len(out) < 12; e-- {
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
	b, err := os.ReadFile("/data/records")
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

func writeRecords(from uint64) error {
	f, err := os.OpenFile("/data/records", os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("write records: %w", err)
	}
	for n := from; ; n++ {
		if _, err := f.WriteAt(record(n), int64(n)*recordSize); err != nil {
			return fmt.Errorf("write record %d: %w", n, err)
		}
		if err := f.Sync(); err != nil {
			return fmt.Errorf("write record %d: %w", n, err)
		}
		say(map[string]any{"kept": n + 1})
		if n > from+2000 {
			return errors.New("the power was not cut")
		}
	}
}
