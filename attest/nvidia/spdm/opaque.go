package spdm

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// Field names an entry of the opaque data. The numbers are NVIDIA's, from its
// attestation SDK (gpu_opaque_data_parser.hpp); switches use the same for what
// they share.
type Field uint16

// The fields that verification reads.
const (
	FieldDriver     Field = 3  // text
	FieldVBIOS      Field = 6  // GPU: a version number; switch: text
	FieldNVDEC0     Field = 11 // whether the first video decoder is on
	FieldChipSKU    Field = 15 // text
	FieldProject    Field = 17 // text
	FieldProjectSKU Field = 18 // text
	FieldFWID       Field = 20 // digest of the firmware that holds the attestation key
	FieldVersion    Field = 34 // of the opaque data's meaning

	FieldProtectedPCIe Field = 21 // GPU: whether it is in protected PCIe mode
	FieldChip          Field = 35 // text, of Blackwell and newer
	FieldPDI           Field = 22 // GPU: ids of the switches that it is linked with; switch: its own
)

// Values of FieldNVDEC0 and FieldProtectedPCIe.
const (
	NVDEC0On  = 0xAA
	NVDEC0Off = 0x55

	ProtectedPCIeOn = 0xAA
)

// maxFieldsVersion is the newest meaning of the fields that is known.
const maxFieldsVersion = 2

// Opaque is the device's description of itself, in its order. Typed lists
// begin with a header and give each entry a type; older ones do neither.
type Opaque struct {
	Typed        bool
	Major, Minor byte // of a typed list
	Reserved     [2]byte
	Entries      []Entry
}

// Entry is one field.
type Entry struct {
	Field Field
	Type  uint16 // of typed lists only
	Value []byte
}

// header of a typed list: "NVDAOD", profile u16, major, minor, two bytes.
const (
	magic           = "NVDAOD"
	typedHeaderSize = 12
)

func decodeOpaque(b []byte) (o Opaque, err error) {
	if len(b) >= typedHeaderSize && string(b[:len(magic)]) == magic {
		if profile := binary.LittleEndian.Uint16(b[6:]); profile != 0 {
			return o, malformed("opaque data of profile %d is newer than this verifier", profile)
		}
		o.Typed, o.Major, o.Minor, o.Reserved = true, b[8], b[9], [2]byte(b[10:])
		b = b[typedHeaderSize:]
	}
	seen := map[Field]bool{}
	for len(b) > 0 {
		head := 4
		if o.Typed {
			head = 6
		}
		header, rest, ok := cut(b, head)
		if !ok {
			return o, malformed("opaque data ends inside a field's header")
		}
		var e Entry
		e.Field = Field(binary.LittleEndian.Uint16(header))
		if o.Typed {
			e.Type = binary.LittleEndian.Uint16(header[2:])
		}
		if e.Value, rest, ok = cut(rest, int(binary.LittleEndian.Uint16(header[head-2:]))); !ok {
			return o, malformed("opaque data ends inside field %d", e.Field)
		}
		if seen[e.Field] {
			return o, malformed("opaque data holds field %d twice", e.Field)
		}
		seen[e.Field] = true
		o.Entries = append(o.Entries, e)
		b = rest
	}
	if v := o.version(); v > maxFieldsVersion {
		return o, malformed("opaque data of version %d is newer than this verifier, which knows %d", v, maxFieldsVersion)
	}
	return o, nil
}

func (o Opaque) version() uint64 {
	if o.Typed {
		return uint64(o.Major)
	}
	var v [8]byte
	value, _ := o.Get(FieldVersion)
	if len(value) > len(v) {
		return ^uint64(0)
	}
	copy(v[:], value)
	return binary.LittleEndian.Uint64(v[:])
}

func encodeOpaque(o Opaque) []byte {
	var b []byte
	if o.Typed {
		b = append([]byte(magic), 0, 0, o.Major, o.Minor, o.Reserved[0], o.Reserved[1])
	}
	for _, e := range o.Entries {
		b = binary.LittleEndian.AppendUint16(b, uint16(e.Field))
		if o.Typed {
			b = binary.LittleEndian.AppendUint16(b, e.Type)
		}
		b = binary.LittleEndian.AppendUint16(b, uint16(len(e.Value)))
		b = append(b, e.Value...)
	}
	return b
}

// Get returns a field's bytes.
func (o Opaque) Get(f Field) ([]byte, bool) {
	for _, e := range o.Entries {
		if e.Field == f {
			return e.Value, true
		}
	}
	return nil, false
}

// Text returns a field that holds text padded with NULs. The text becomes part
// of names and messages, so only letters, digits, '.', '-' and '_' are
// accepted.
func (o Opaque) Text(f Field) (string, error) {
	value, ok := o.Get(f)
	if !ok {
		return "", malformed("opaque data lacks field %d", f)
	}
	text := strings.TrimRight(string(value), "\x00")
	for _, c := range []byte(text) {
		if !('0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || strings.IndexByte(".-_", c) >= 0) {
			return "", malformed("field %d of the opaque data is no plain text: %.32q", f, text)
		}
	}
	if text == "" || len(text) > 64 {
		return "", malformed("field %d of the opaque data has %d characters", f, len(text))
	}
	return text, nil
}

// VBIOS returns a GPU's firmware version as NVIDIA writes it, "96.00.9F.00.01".
// On the wire it is a 64-bit number, 0x00000001_96009F00 here: the four bytes
// of the lower half, then the lowest byte of the upper half.
func (o Opaque) VBIOS() (string, error) {
	value, ok := o.Get(FieldVBIOS)
	if !ok {
		return "", malformed("opaque data lacks the VBIOS version")
	}
	if len(value) != 8 {
		return "", malformed("the VBIOS version has %d bytes, want 8", len(value))
	}
	return fmt.Sprintf("%02X.%02X.%02X.%02X.%02X", value[3], value[2], value[1], value[0], value[4]), nil
}
