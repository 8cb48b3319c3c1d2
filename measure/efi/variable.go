package efi

import (
	"encoding/binary"
	"unicode/utf16"
)

// Vendors of the secure-boot variables.
var (
	GlobalVariable   = MustGUID("8be4df61-93ca-11d2-aa0d-00e098032b8c") // EFI_GLOBAL_VARIABLE
	SecurityDatabase = MustGUID("d719b2cb-3d3a-4596-a3bc-dad00e67656f") // EFI_IMAGE_SECURITY_DATABASE_GUID
)

// VariableData is UEFI_VARIABLE_DATA, the preimage of a measured variable (TCG
// PC Client Platform Firmware Profile 1.06, 10.2.6): vendor, length of the name
// in UTF-16 code units, length of the data, name without NUL, data. An absent
// variable has no data.
func VariableData(vendor GUID, name string, data []byte) []byte {
	units := utf16.Encode([]rune(name))
	out := append([]byte{}, vendor[:]...)
	out = binary.LittleEndian.AppendUint64(out, uint64(len(units)))
	out = binary.LittleEndian.AppendUint64(out, uint64(len(data)))
	out = appendUnits(out, units)
	return append(out, data...)
}

// UTF16 is s as UTF-16LE with a final NUL, as EFI strings are passed.
func UTF16(s string) []byte {
	return append(appendUnits(nil, utf16.Encode([]rune(s))), 0, 0)
}

func appendUnits(out []byte, units []uint16) []byte {
	for _, u := range units {
		out = binary.LittleEndian.AppendUint16(out, u)
	}
	return out
}
