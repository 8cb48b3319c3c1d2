package acpi

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Header of a table (ACPI 6.5, 5.2.6): signature, u32 length …, 36 bytes.
// FACS has a signature and a length alone.
const tableHeaderSize = 36

// Link derives the linker's commands and the root pointer from etc/acpi/tables,
// as QEMU makes them (hw/acpi/bios-linker-loader.c, hw/i386/acpi-build.c): they
// say where in the tables pointers and checksums are.
func Link(tables []byte) (Blobs, error) {
	var l linker
	l.allocate(RSDPFile, 16, 2)
	l.allocate(TablesFile, 64, 1)
	rsdt, found := uint32(0), false
	for off := uint32(0); ; {
		name, size, err := tableAt(tables, off)
		if err != nil {
			return Blobs{}, fmt.Errorf("link ACPI tables: %w", err)
		}
		if size == 0 {
			break
		}
		switch name {
		case "FACS": // has neither
		case "FACP":
			l.pointer(TablesFile, TablesFile, off+36, 4) // FIRMWARE_CTRL
			l.pointer(TablesFile, TablesFile, off+40, 4) // DSDT
			l.pointer(TablesFile, TablesFile, off+140, 8)
			l.checksum(TablesFile, off+9, off, size)
		case "RSDT":
			rsdt, found = off, true
			for at := uint32(tableHeaderSize); at+4 <= size; at += 4 {
				l.pointer(TablesFile, TablesFile, off+at, 4)
			}
			l.checksum(TablesFile, off+9, off, size)
		default:
			l.checksum(TablesFile, off+9, off, size)
		}
		off += size
	}
	if !found {
		return Blobs{}, errors.New("link ACPI tables: there is no RSDT")
	}
	l.pointer(RSDPFile, TablesFile, 16, 4)
	l.checksum(RSDPFile, 8, 0, 20)
	if len(l) > loaderSize {
		return Blobs{}, fmt.Errorf("link ACPI tables: %d bytes of commands, want at most %d", len(l), loaderSize)
	}
	return Blobs{
		Loader: append(l, make([]byte, loaderSize-len(l))...),
		RSDP:   binary.LittleEndian.AppendUint32([]byte("RSD PTR \x00BOCHS \x00"), rsdt),
		Tables: tables,
	}, nil
}

// tableAt returns name and size of the table at off; size 0: the padding.
func tableAt(tables []byte, off uint32) (string, uint32, error) {
	rest := tables[min(uint64(off), uint64(len(tables))):]
	if len(rest) == 0 || rest[0] == 0 {
		return "", 0, nil
	}
	if len(rest) < tableHeaderSize {
		return "", 0, fmt.Errorf("the table at %#x is cut off", off)
	}
	name, size := string(rest[:4]), binary.LittleEndian.Uint32(rest[4:])
	if size < tableHeaderSize || uint64(size) > uint64(len(rest)) {
		return "", 0, fmt.Errorf("table %q at %#x has %d bytes, want %d to %d", name, off, size, tableHeaderSize, len(rest))
	}
	return name, size, nil
}

// linker grows by commands of 128 bytes: u32 command, file names of 56 bytes,
// numbers in little-endian order.
type linker []byte

const (
	commandSize  = 128
	fileNameSize = 56
)

func (l *linker) command(kind uint32, numbers []byte, files ...string) {
	c := binary.LittleEndian.AppendUint32(nil, kind)
	for _, f := range files {
		c = append(append(c, f...), make([]byte, fileNameSize-len(f))...)
	}
	c = append(c, numbers...)
	*l = append(append(*l, c...), make([]byte, commandSize-len(c))...)
}

func (l *linker) allocate(file string, align uint32, zone byte) {
	l.command(1, append(words(align), zone), file)
}

func (l *linker) pointer(to, from string, off uint32, size byte) {
	l.command(2, append(words(off), size), to, from)
}

func (l *linker) checksum(file string, at, start, size uint32) {
	l.command(3, words(at, start, size), file)
}

func words(values ...uint32) (b []byte) {
	for _, v := range values {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}
