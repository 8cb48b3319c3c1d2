package acpi

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/secretvm/secretvm/vm"
)

// Names of the three files in fw_cfg, in the order in which OVMF downloads them.
const (
	LoaderFile = "etc/table-loader"
	RSDPFile   = "etc/acpi/rsdp"
	TablesFile = "etc/acpi/tables"
)

// Blobs are the three files as the firmware downloads them, before it links them.
type Blobs struct {
	Loader []byte // commands for the linker
	RSDP   []byte // pointer to the RSDT, in the old format
	Tables []byte // all tables, padded with zeros
}

// Sizes to which QEMU pads (hw/i386/acpi-build.h).
const (
	tablesSize = 128 << 10
	loaderSize = 4096
)

// From lowMemoryLimit on, QEMU's q35 keeps only lowMemory below 4 GiB
// (hw/i386/pc_q35.c); devices get the addresses from there to devicesEnd, where
// OVMF puts the PCI configuration space.
const (
	lowMemoryLimit = 0xb000_0000
	lowMemory      = 0x8000_0000
	devicesEnd     = 0xe000_0000
)

// For returns the files of the TDX machine of a shape.
func For(s vm.Shape) (Blobs, error) {
	if err := s.Validate(); err != nil {
		return Blobs{}, fmt.Errorf("predict ACPI tables: %w", err)
	}
	packed, err := unpacked[s.GPUs]()
	if err != nil {
		return Blobs{}, fmt.Errorf("predict ACPI tables: %w", err)
	}
	tables := make([]byte, tablesSize)
	copy(tables, packed[s.CPUs-1])
	if err := SetWindow(tables, s.Memory); err != nil {
		return Blobs{}, fmt.Errorf("predict ACPI tables: %w", err)
	}
	return Link(tables)
}

// LowMemory is how much of a machine's memory is below 4 GiB, in bytes.
func LowMemory(memory int64) int64 {
	if memory < lowMemoryLimit {
		return memory
	}
	return lowMemory
}

// SetWindow makes the tables of a machine those of the same one with another
// memory, in bytes: devices' addresses below 4 GiB begin where it ends. That is
// the end of a DWordMemory descriptor of the host bridge (ACPI 6.5, 6.4.3.5.2):
// first and last address, offset, length.
func SetWindow(tables []byte, memory int64) error {
	low := uint32(LowMemory(memory))
	le := binary.LittleEndian
	pattern := le.AppendUint32(le.AppendUint32(nil, devicesEnd-1), 0)
	found := -1
	for from := 0; ; {
		i := bytes.Index(tables[from:], pattern)
		if i < 0 {
			break
		}
		at := from + i - 4 // the first address
		from += i + 1
		if at < 0 || at+16 > len(tables) || le.Uint32(tables[at:])+le.Uint32(tables[at+12:]) != devicesEnd {
			continue
		}
		if found >= 0 {
			return fmt.Errorf("the tables have two windows for devices below 4 GiB, at %#x and %#x", found, at)
		}
		found = at
	}
	if found < 0 {
		return fmt.Errorf("the tables have no window for devices below 4 GiB")
	}
	le.PutUint32(tables[found:], low)
	le.PutUint32(tables[found+12:], devicesEnd-low)
	return nil
}
