//go:build e2e

package disk

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"

	"golang.org/x/sys/unix"

	"github.com/secretvm/secretvm/disk/luks"
)

// QEMU's blklogwrites writes the format of dm-log-writes, little-endian
// (drivers/md/dm-log-writes.c): a superblock, then entries, each in a sector of its
// own with its data behind it.
const (
	logMagic   = 0x6a736677736872
	logSector  = 512
	flagFlush  = 1
	flagNoData = 4 // discard
)

// write is one request of the machine.
type write struct {
	at    int64
	data  []byte
	flush bool
	end   int64 // of its entry in the log, in bytes
}

// writes reads what the machine has written since it was last asked, and forgets it.
func (m *machine) writes() (out []write) {
	m.t.Helper()
	f, err := os.OpenFile(m.log(), os.O_RDWR, 0)
	must(m.t, err)
	defer f.Close()
	sector := make([]byte, logSector)
	if m.read == 0 {
		if _, err := io.ReadFull(f, sector); err == io.EOF {
			return nil // nothing was written
		}
		if magic := binary.LittleEndian.Uint64(sector); magic != logMagic {
			m.t.Fatalf("magic of the log of writes is %x", magic)
		}
		m.read = logSector
	}
	from := m.read
	_, err = f.Seek(m.read, io.SeekStart)
	must(m.t, err)
	for {
		if _, err := io.ReadFull(f, sector); err == io.EOF {
			break
		} else if err != nil {
			m.t.Fatal(err)
		}
		u64 := func(i int) uint64 { return binary.LittleEndian.Uint64(sector[8*i:]) }
		at, sectors, flags := u64(0), u64(1), u64(2)
		w := write{at: int64(at) * logSector, flush: flags&flagFlush != 0}
		if flags&flagNoData == 0 && sectors > 0 {
			w.data = make([]byte, sectors*logSector)
			_, err := io.ReadFull(f, w.data)
			must(m.t, err)
		}
		w.end, err = f.Seek(0, io.SeekCurrent)
		must(m.t, err)
		m.read = w.end
		out = append(out, w)
	}
	must(m.t, unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, from, m.read-from))
	return out
}

// logged is how long the log is: everything that the machine has been told is on
// the disk lies before that.
func (m *machine) logged() int64 {
	m.t.Helper()
	info, err := os.Stat(m.log())
	must(m.t, err)
	return info.Size()
}

// crashes makes of a disk and a log what the disk may hold after power cuts.
type crashes struct {
	whole     []byte // everything up to the last flush
	log       []write
	integrity bool
	applied   int
}

// unit is what is written whole or not at all: a sector, or a block where ext4 lies
// on the encrypted disk as it is. ext4 needs that for its superblock, two sectors
// with one checksum; our headers and dm-integrity need no more than a sector.
func (c *crashes) unit(w write) int {
	if c.integrity || w.at < luks.PayloadOffset {
		return logSector
	}
	return min(block, len(w.data))
}

// at returns what a disk kept of the first n writes when the power went: everything
// up to the last flush, and of the rest what chance says: all, nothing, the
// beginning, or some parts. n must not fall from one call to the next.
func (c *crashes) at(n int, chance *rand.Rand) (disk []byte, lost int) {
	flushed := c.applied
	for i := c.applied; i < n; i++ {
		if c.log[i].flush {
			flushed = i + 1
		}
	}
	for _, w := range c.log[c.applied:flushed] {
		copy(c.whole[w.at:], w.data)
	}
	c.applied = flushed
	disk = append([]byte(nil), c.whole...)
	for _, w := range c.log[flushed:n] {
		if len(w.data) == 0 {
			continue
		}
		unit := c.unit(w)
		units := len(w.data) / unit
		how, kept := chance.IntN(4), units
		if how > 0 {
			lost++
		}
		switch how {
		case 1:
			continue
		case 2:
			kept = chance.IntN(units)
		}
		for u := range kept {
			if how != 3 || chance.IntN(2) == 0 {
				copy(disk[w.at+int64(u*unit):], w.data[u*unit:(u+1)*unit])
			}
		}
	}
	return disk, lost
}

// String describes a log for failures.
func (w write) String() string {
	if w.flush {
		return "flush"
	}
	return fmt.Sprintf("%d bytes at %d", len(w.data), w.at)
}
