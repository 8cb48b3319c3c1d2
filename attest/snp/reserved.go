package snp

import (
	"encoding/binary"
	"fmt"

	"github.com/secretvm/secretvm/vm"
)

// reserved lists what must be zero in reports of versions below before; 0
// means in all.
var reserved = []struct {
	from, to int
	before   uint32
}{
	{0x04c, 0x050, 0},
	{0x188, 0x18b, versionCPU},
	{0x18b, 0x1a0, 0},
	{0x1eb, 0x1ec, 0},
	{0x1ef, 0x1f0, 0},
	{0x1f8, 0x208, versionMitigations},
	{0x208, 0x2a0, 0},
	{signedSize + 48, signedSize + 72, 0},
	{signedSize + 72 + 48, ReportSize, 0},
}

func checkReserved(b []byte, version uint32) error {
	for _, field := range reserved {
		if (field.before == 0 || version < field.before) && !zero(b[field.from:field.to]) {
			return vm.Refuse(vm.CodeMalformed, "reserved bytes %#x to %#x of the SEV-SNP report are not zero in version %d", field.from, field.to-1, version)
		}
	}
	if flags := u32(b[0x48:]); flags>>5 != 0 {
		return vm.Refuse(vm.CodeMalformed, "reserved bits of the SEV-SNP report are not zero").On("flags at 0x48", fmt.Sprintf("%#x", flags), "bits 5 to 31 clear")
	}
	return nil
}

func u32(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }
func u64(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }

func zero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
