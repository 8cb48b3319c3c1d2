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
	packed, err := unpacked()
	if err != nil {
		return Blobs{}, fmt.Errorf("predict ACPI tables: %w", err)
	}
	tables := make([]byte, tablesSize)
	copy(tables, packed[s.CPUs-1])
	if err := setWindow(tables, s.Memory); err != nil {
		return Blobs{}, fmt.Errorf("predict ACPI tables: %w", err)
	}
	return Link(tables)
}

// setWindow sets where PCI devices' addresses below 4 GiB begin. The packed
// tables are those of a machine with 2 GiB.
func setWindow(tables []byte, memory int64) error {
	low := uint32(lowMemory)
	if memory < lowMemoryLimit {
		low = uint32(memory)
	}
	from, to := window(lowMemory), window(low)
	if bytes.Count(tables, from) != 1 {
		return fmt.Errorf("the packed tables have %d windows for devices below 4 GiB, want 1", bytes.Count(tables, from))
	}
	copy(tables[bytes.Index(tables, from):], to)
	return nil
}

// window is the end of the DWordMemory descriptor (ACPI 6.5, 6.4.3.5.2) of the
// host bridge: granularity, first and last address, offset, length.
func window(low uint32) (b []byte) {
	for _, v := range []uint32{0, low, devicesEnd - 1, 0, devicesEnd - low} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}
