package tdx

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/secretvm/secretvm/measure/ovmf"
)

// Resource types of a hand-off block (PI 1.8, volume 3, 5.5).
const (
	accepted   uint32 = 0 // EFI_RESOURCE_SYSTEM_MEMORY
	unaccepted uint32 = 7 // EFI_RESOURCE_MEMORY_UNACCEPTED
)

// From lowMemoryLimit on, QEMU's q35 keeps only lowMemory below 4 GiB
// (hw/i386/pc_q35.c).
const (
	lowMemoryLimit = 0xb000_0000
	lowMemory      = 0x8000_0000
	highMemory     = 4 << 30
)

type memoryRange struct {
	start, size uint64
	kind        uint32
}

// HOB predicts the measured bytes of the TD hand-off block that QEMU writes for
// a machine with that much memory, in bytes (QEMU hw/i386/tdvf-hob.c): a PHIT
// and one resource descriptor for each range of memory, without the header
// that ends the list.
func HOB(image *ovmf.Image, memory uint64) ([]byte, error) {
	ranges, err := memoryRanges(image, memory)
	if err != nil {
		return nil, fmt.Errorf("predict TD HOB: %w", err)
	}
	const phitSize, resourceSize, endSize = 56, 48, 8
	end := image.Section(ovmf.TDHOB).Address + phitSize + resourceSize*uint64(len(ranges)) + endSize
	le := binary.LittleEndian

	// EFI_HOB_HANDOFF_INFO_TABLE: type 1, length, reserved, version 9, boot
	// mode 0, four addresses that are zero, end of the list.
	out := le.AppendUint16(nil, 1)
	out = le.AppendUint16(out, phitSize)
	out = le.AppendUint32(out, 0)
	out = le.AppendUint32(out, 9)
	out = le.AppendUint32(out, 0)
	out = append(out, make([]byte, 32)...)
	out = le.AppendUint64(out, end)

	// EFI_HOB_RESOURCE_DESCRIPTOR: type 3, length, reserved, owner zero, kind,
	// attributes PRESENT|INITIALIZED|TESTED, start, length.
	for _, r := range ranges {
		out = le.AppendUint16(out, 3)
		out = le.AppendUint16(out, resourceSize)
		out = append(out, make([]byte, 4+16)...)
		out = le.AppendUint32(out, r.kind)
		out = le.AppendUint32(out, 7)
		out = le.AppendUint64(out, r.start)
		out = le.AppendUint64(out, r.size)
	}
	return out, nil
}

// memoryRanges splits the machine's memory at the sections that are accepted
// before the firmware runs. Neighbours are not merged, as QEMU does not.
func memoryRanges(image *ovmf.Image, memory uint64) ([]memoryRange, error) {
	ranges := []memoryRange{{0, memory, unaccepted}}
	if memory >= lowMemoryLimit {
		ranges = []memoryRange{{0, lowMemory, unaccepted}, {highMemory, memory - lowMemory, unaccepted}}
	}
	for _, s := range image.Sections {
		if s.Type != ovmf.TDHOB && s.Type != ovmf.TempMem {
			continue
		}
		i := slices.IndexFunc(ranges, func(r memoryRange) bool {
			return r.kind == unaccepted && r.start <= s.Address && s.Address+s.Size <= r.start+r.size
		})
		if i < 0 {
			return nil, fmt.Errorf("section %s at %#x+%#x is outside %d bytes of memory", s.Type, s.Address, s.Size, memory)
		}
		whole := ranges[i]
		parts := []memoryRange{
			{whole.start, s.Address - whole.start, unaccepted},
			{s.Address, s.Size, accepted},
			{s.Address + s.Size, whole.start + whole.size - s.Address - s.Size, unaccepted},
		}
		parts = slices.DeleteFunc(parts, func(r memoryRange) bool { return r.size == 0 })
		ranges = slices.Replace(ranges, i, i+1, parts...)
	}
	return ranges, nil
}
