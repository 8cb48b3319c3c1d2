package qtest

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// fw_cfg (docs/specs/fw_cfg.rst): a DMA request of 16 bytes, big-endian, whose
// address is written to two ports, high half first; and a directory.
const (
	dmaHigh, dmaLow = 0x514, 0x518
	dmaSelect       = 1 << 3
	dmaRead         = 1 << 1

	directoryKey = 0x19
	directoryRow = 64 // u32 size, u16 key, u16 reserved, name[56]
	maxFiles     = 256
	maxFileSize  = 256 << 20
	requestAt    = 0x80000  // in the guest's memory, which nobody else uses
	dataAt       = 0x100000 //
	dataPart     = 128 << 10
)

// key reads size bytes of an item from its beginning. What QEMU makes on
// demand is made when an item is selected.
func (s *Session) key(key uint16, size uint32) ([]byte, error) {
	control := uint32(key)<<16 | dmaSelect | dmaRead
	var out []byte
	for left := size; left > 0; control = dmaRead {
		part := min(left, dataPart)
		request := binary.BigEndian.AppendUint32(nil, control)
		request = binary.BigEndian.AppendUint32(request, part)
		request = binary.BigEndian.AppendUint64(request, dataAt)
		if err := s.write(requestAt, request); err != nil {
			return nil, err
		}
		if err := s.out("l", dmaHigh, 0); err != nil {
			return nil, err
		}
		if err := s.out("l", dmaLow, swap(requestAt)); err != nil {
			return nil, err
		}
		done, err := s.read(requestAt, 4)
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(done, make([]byte, 4)) {
			return nil, fmt.Errorf("fw_cfg item %#x: DMA ends with %x", key, done)
		}
		b, err := s.read(dataAt, int(part))
		if err != nil {
			return nil, err
		}
		out, left = append(out, b...), left-part
	}
	return out, nil
}

// swap turns a number around for a big-endian port.
func swap(v uint32) uint32 {
	return binary.LittleEndian.Uint32(binary.BigEndian.AppendUint32(nil, v))
}

// File returns a file of fw_cfg.
func (s *Session) File(name string) ([]byte, error) {
	head, err := s.key(directoryKey, 4)
	if err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head)
	if n > maxFiles {
		return nil, fmt.Errorf("fw_cfg has %d files, want at most %d", n, maxFiles)
	}
	list, err := s.key(directoryKey, 4+n*directoryRow)
	if err != nil {
		return nil, err
	}
	for row := list[4:]; len(row) > 0; row = row[directoryRow:] {
		if string(bytes.TrimRight(row[8:directoryRow], "\x00")) != name {
			continue
		}
		size := binary.BigEndian.Uint32(row)
		if size > maxFileSize {
			return nil, fmt.Errorf("fw_cfg file %s has %d bytes, want at most %d", name, size, maxFileSize)
		}
		return s.key(binary.BigEndian.Uint16(row[4:]), size)
	}
	return nil, fmt.Errorf("fw_cfg has no file %s", name)
}

// Counted returns an item of the old interface, whose size, u32 little-endian,
// is an item of its own.
func (s *Session) Counted(sizeKey, key uint16) ([]byte, error) {
	b, err := s.key(sizeKey, 4)
	if err != nil {
		return nil, err
	}
	size := binary.LittleEndian.Uint32(b)
	if size > maxFileSize {
		return nil, fmt.Errorf("fw_cfg item %#x has %d bytes, want at most %d", key, size, maxFileSize)
	}
	return s.key(key, size)
}
