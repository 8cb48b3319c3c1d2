package tdx

import "encoding/binary"

// Constants of the quote header.
const (
	Version4 = 4
	Version5 = 5

	KeyTypeECDSAP256 = 2          // attestation key: ECDSA-256 with curve P-256
	TEETypeTDX       = 0x00000081 // TEE type

	headerSize = 48
)

// IntelVendorID is the UUID 939a7233-f79c-4ca9-940a-0db3957f0607 of Intel's
// quoting enclave.
var IntelVendorID = [16]byte{
	0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9,
	0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07,
}

// Header is the quote header, 48 bytes (A.3.1). The number behind each field
// is its offset.
type Header struct {
	Version  uint16   // 0: 4 or 5
	KeyType  uint16   // 2: attestation key type
	TEEType  uint32   // 4
	Reserved [4]byte  // 8: zero
	VendorID [16]byte // 12: of the quoting enclave
	UserData [20]byte // 28: the first 16 bytes name the platform at the vendor
}

// append writes the 48 bytes of h behind b.
func (h *Header) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint16(b, h.Version)
	b = binary.LittleEndian.AppendUint16(b, h.KeyType)
	b = binary.LittleEndian.AppendUint32(b, h.TEEType)
	b = append(b, h.Reserved[:]...)
	b = append(b, h.VendorID[:]...)
	return append(b, h.UserData[:]...)
}

// decodeHeader reads the first 48 bytes of b, which must be there.
func decodeHeader(b []byte) (h Header) {
	h.Version = binary.LittleEndian.Uint16(b)
	h.KeyType = binary.LittleEndian.Uint16(b[2:])
	h.TEEType = binary.LittleEndian.Uint32(b[4:])
	copy(h.Reserved[:], b[8:])
	copy(h.VendorID[:], b[12:])
	copy(h.UserData[:], b[28:headerSize])
	return h
}

// take copies the front of b into a field, and returns what is behind it.
func take(b, field []byte) []byte { return b[copy(field, b):] }
