package snp

import (
	"encoding/binary"
	"fmt"

	"github.com/secretvm/secretvm/measure/efi"
	"github.com/secretvm/secretvm/vm"
)

// Hashes is the table that QEMU puts in front of the firmware with
// kernel-hashes=on, so that the digest covers what is booted: the firmware
// refuses files that do not match.
type Hashes struct {
	Kernel      vm.Hash // SHA-256 of the whole file, as on disk
	Initrd      vm.Hash // SHA-256 of the whole file; of nothing, where there is none
	CommandLine vm.Hash // SHA-256 of the text and a NUL (HashCommandLine)
}

// HashFiles hashes kernel, initrd (nil: none) and command line as QEMU does.
func HashFiles(kernel, initrd []byte, commandLine string) Hashes {
	return Hashes{Kernel: vm.HashOf(kernel), Initrd: vm.HashOf(initrd), CommandLine: HashCommandLine(commandLine)}
}

// HashCommandLine hashes a kernel command line, byte for byte as given to
// -append, with the NUL that ends it.
func HashCommandLine(s string) vm.Hash { return vm.HashOf(append([]byte(s), 0)) }

// The GUIDs of QEMU's target/i386/sev.c.
var (
	tableGUID       = efi.MustGUID("9438d606-4f22-4cc9-b479-a793d411fd21")
	commandLineGUID = efi.MustGUID("97d02dd8-bd20-4c94-aa78-e7714d36ab2a")
	initrdGUID      = efi.MustGUID("44baf731-3a2f-4bd7-9af1-41e29169781d")
	kernelGUID      = efi.MustGUID("4de79437-abd2-427f-b835-d5b172d2045b")
)

const (
	tableHeader = 16 + 2
	tableEntry  = 16 + 2 + 32
	tableLength = tableHeader + 3*tableEntry
	tablePadded = (tableLength + 15) &^ 15
)

// Table is what firmware reads at the address that its SEV metadata names, 176
// bytes: for tests that plant it where there is no SEV.
func (h Hashes) Table() []byte { return h.table() }

// table is the structure itself: GUID, u16 length, and three entries of GUID,
// u16 length and digest; zeros up to a multiple of 16 bytes.
func (h Hashes) table() []byte {
	b := make([]byte, 0, tablePadded)
	b = append(b, tableGUID[:]...)
	b = binary.LittleEndian.AppendUint16(b, tableLength)
	for _, entry := range []struct {
		guid efi.GUID
		hash vm.Hash
	}{{commandLineGUID, h.CommandLine}, {initrdGUID, h.Initrd}, {kernelGUID, h.Kernel}} {
		b = append(b, entry.guid[:]...)
		b = binary.LittleEndian.AppendUint16(b, tableEntry)
		b = append(b, entry.hash[:]...)
	}
	return b[:tablePadded]
}

// page is the page that holds the table at its address, and zeros.
func (h Hashes) page(address uint32) ([]byte, error) {
	offset := address % pageSize
	if offset+tablePadded > pageSize {
		return nil, fmt.Errorf("table of hashes at %#x does not fit into its page", address)
	}
	page := make([]byte, pageSize)
	copy(page[offset:], h.table())
	return page, nil
}
