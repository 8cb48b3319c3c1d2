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
func (h Header) append(b []byte) []byte { return mustAppend(b, h) }

// decodeHeader reads the first 48 bytes of b, which must be there.
func decodeHeader(b []byte) (h Header) {
	mustDecode(b[:headerSize], &h)
	return h
}

// mustAppend writes a fixed-size structure. It cannot fail: the types that are
// passed consist of fixed-size fields, which TestLayout checks.
func mustAppend(b []byte, v any) []byte {
	out, err := binary.Append(b, binary.LittleEndian, v)
	if err != nil {
		panic("tdx: " + err.Error())
	}
	return out
}

// mustDecode is the inverse of mustAppend; b has exactly the size of v.
func mustDecode(b []byte, v any) {
	if n, err := binary.Decode(b, binary.LittleEndian, v); err != nil || n != len(b) {
		panic("tdx: layout and size differ")
	}
}
