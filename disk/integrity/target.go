package integrity

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/secretvm/secretvm/disk/devmapper"
)

const (
	blockSize = 4096
	tagSize   = 32
	// journaled writes everything twice, so that a power cut leaves no block whose
	// tag does not fit; direct is for the first writing of all.
	journaled = 'J'
	direct    = 'D'
)

// Fields of the superblock, little-endian.
const (
	superblockSize = 512
	offVersion     = 8  // u8
	offProvided    = 16 // u64: sectors of 512 bytes for data
	magic          = "integrt\x00"
)

// table is the target for a device with that many sectors for data.
func (k *Keys) table(lower string, sectors uint64, mode byte) devmapper.Target {
	params := fmt.Appendf(nil, "%s 0 %d %c 5 block_size:%d fix_padding fix_hmac internal_hash:hmac(sha256):", lower, tagSize, mode, blockSize)
	params = hex.AppendEncode(params, k.tags[:])
	params = append(params, " journal_mac:hmac(sha256):"...)
	params = hex.AppendEncode(params, k.journal[:])
	return devmapper.Target{Type: "integrity", Sectors: sectors, Params: params, Secret: true}
}

// Activate maps the device lower, which Format has written, under name and returns
// the path of the checked device. ErrSuperblock says that Format has not.
func Activate(name, lower string, k *Keys) (path string, err error) {
	sectors, err := provided(lower)
	if err != nil {
		return "", err
	}
	return k.activate(name, lower, sectors, journaled)
}

// Deactivate takes the checked device away.
func Deactivate(name string) error { return devmapper.Remove(name) }

// Format makes a superblock on lower and writes zeros, with their tags, to all of
// it. progress is told how much of it is written, in percent, as that rises. Name
// is used for the time being. What was on lower is lost.
func Format(name, lower string, k *Keys, progress func(percent int)) error {
	if err := clearSuperblock(lower); err != nil {
		return err
	}
	// With any size the kernel makes the superblock where it finds zeros, and
	// writes into it how much room there is.
	if _, err := k.activate(name, lower, blockSize/512, direct); err != nil {
		return err
	}
	if err := devmapper.Remove(name); err != nil {
		return err
	}
	sectors, err := provided(lower)
	if err != nil {
		return err
	}
	path, err := k.activate(name, lower, sectors, direct)
	if err != nil {
		return err
	}
	return errors.Join(zero(path, int64(sectors)*512, progress), devmapper.Remove(name))
}

func (k *Keys) activate(name, lower string, sectors uint64, mode byte) (string, error) {
	t := k.table(lower, sectors, mode)
	defer clear(t.Params)
	path, err := devmapper.Create(name, "SECRETVM-"+name, false, t)
	if err != nil {
		return "", fmt.Errorf("check the integrity of %s: %w", lower, err)
	}
	return path, nil
}

// provided reads from the superblock how many sectors there are for data. The
// kernel checks the superblock's HMAC when it is given the number.
func provided(lower string) (uint64, error) {
	f, err := os.Open(lower)
	if err != nil {
		return 0, fmt.Errorf("read superblock of dm-integrity: %w", err)
	}
	defer f.Close()
	b := make([]byte, superblockSize)
	if _, err := io.ReadFull(f, b); err != nil {
		return 0, fmt.Errorf("read superblock of dm-integrity: %w", err)
	}
	return parse(b)
}

func parse(b []byte) (uint64, error) {
	if len(b) != superblockSize || string(b[:len(magic)]) != magic {
		return 0, ErrSuperblock
	}
	sectors := binary.LittleEndian.Uint64(b[offProvided:])
	if v := b[offVersion]; v == 0 || sectors == 0 || sectors%(blockSize/512) != 0 || sectors > 1<<50 {
		return 0, fmt.Errorf("%w: version %d, %d sectors", ErrSuperblock, v, sectors)
	}
	return sectors, nil
}

func clearSuperblock(lower string) error {
	f, err := os.OpenFile(lower, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("make superblock of dm-integrity: %w", err)
	}
	_, err = f.Write(make([]byte, blockSize))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("make superblock of dm-integrity: %w", err)
	}
	return nil
}

// zero writes zeros past the page cache, which would only be filled with them.
func zero(path string, size int64, progress func(percent int)) error {
	f, err := os.OpenFile(path, os.O_WRONLY|unix.O_DIRECT, 0)
	if err != nil {
		return fmt.Errorf("write the checked device: %w", err)
	}
	defer f.Close()
	zeros, err := unix.Mmap(-1, 0, 4<<20, unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_ANON) // aligned as O_DIRECT wants it
	if err != nil {
		return fmt.Errorf("write the checked device: %w", err)
	}
	defer func() { _ = unix.Munmap(zeros) }()
	said := 0
	for off := int64(0); off < size; off += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), size-off)], off); err != nil {
			return fmt.Errorf("write the checked device at byte %d: %w", off, err)
		}
		if percent := int(off * 100 / size); percent > said {
			said = percent
			progress(said)
		}
	}
	return f.Sync()
}
