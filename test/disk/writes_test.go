//go:build e2e

package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
)

// QEMU's blklogwrites writes the format of dm-log-writes, little-endian
// (drivers/md/dm-log-writes.c): a superblock, then entries, each in a sector of its
// own with its data behind it.
const (
	logMagic   = 0x6a736677736872
	logSector  = 512
	flagFlush  = 1
	flagNoData = 4 // discard
	entrySize  = 32
)

// write is one request of the machine.
type write struct {
	at    int64
	data  []byte
	flush bool
	end   int64 // of its entry in the log, in bytes
}

// readLog reads what a machine wrote until its end. The last entry may be torn.
func readLog(path string) ([]write, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	sector := make([]byte, logSector)
	if _, err := io.ReadFull(f, sector); errors.Is(err, io.EOF) {
		return nil, nil // nothing was written
	} else if err != nil {
		return nil, fmt.Errorf("read log of writes: %w", err)
	}
	if m := binary.LittleEndian.Uint64(sector); m != logMagic {
		return nil, fmt.Errorf("read log of writes: magic is %x", m)
	}
	var out []write
	for {
		if _, err := io.ReadFull(f, sector); err != nil {
			return out, nil //nolint:nilerr // the end of what was written
		}
		u64 := func(i int) uint64 { return binary.LittleEndian.Uint64(sector[8*i:]) }
		at, sectors, flags := u64(0), u64(1), u64(2)
		if at == 0 && sectors == 0 && flags == 0 {
			return out, nil
		}
		w := write{at: int64(at) * logSector, flush: flags&flagFlush != 0}
		if flags&flagNoData == 0 && sectors > 0 {
			w.data = make([]byte, sectors*logSector)
			if _, err := io.ReadFull(f, w.data); err != nil {
				return out, nil //nolint:nilerr // torn
			}
		}
		if w.end, err = f.Seek(0, io.SeekCurrent); err != nil {
			return nil, err
		}
		out = append(out, w)
	}
}

// replay applies what a disk kept of a log when the power went: everything up to the
// last flush, and of the rest what chance says, some of it in part.
func replay(disk string, log []write, chance *rand.Rand) (lost int, err error) {
	last := -1
	for i, w := range log {
		if w.flush {
			last = i
		}
	}
	f, err := os.OpenFile(disk, os.O_WRONLY, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for i, w := range log {
		data := w.data
		if i > last && len(data) > 0 {
			switch chance.IntN(3) {
			case 0:
				lost++
				continue
			case 1:
				data = data[:logSector*(1+chance.IntN(len(data)/logSector))]
				lost++
			}
		}
		if _, err := f.WriteAt(data, w.at); err != nil {
			return lost, fmt.Errorf("replay writes: %w", err)
		}
	}
	return lost, nil
}
