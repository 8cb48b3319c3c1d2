// Package linuxboottest makes a small PE32+ image for tests.
package linuxboottest

import "encoding/binary"

// Layout of Kernel, in bytes from its start: two sections (not in the order of
// the file), 16 trailing bytes, a certificate table of 24 bytes.
const (
	Header      = 0x40
	Optional    = Header + 4 + 20
	Directories = 6
	Sections    = Optional + 112 + 8*Directories
	HeadersSize = 0x200
	Certificate = HeadersSize + 0x100 + 0x80 + 16
)

// Kernel returns the image.
func Kernel() []byte {
	b := make([]byte, Certificate+24)
	for i := range b {
		b[i] = byte(i * 13)
	}
	le := binary.LittleEndian
	clear(b[:HeadersSize])
	copy(b, "MZ")
	le.PutUint32(b[0x3c:], Header)
	copy(b[Header:], "PE\x00\x00")
	le.PutUint16(b[Header+4:], 0x8664)
	le.PutUint16(b[Header+6:], 2)
	le.PutUint16(b[Header+20:], 112+8*Directories)
	le.PutUint16(b[Optional:], 0x20b)
	le.PutUint32(b[Optional+60:], HeadersSize)
	le.PutUint32(b[Optional+64:], 0xc0ffee)
	le.PutUint32(b[Optional+108:], Directories)
	le.PutUint32(b[Optional+112+32:], Certificate)
	le.PutUint32(b[Optional+112+36:], 24)
	le.PutUint32(b[Sections+16:], 0x80)
	le.PutUint32(b[Sections+20:], HeadersSize+0x100)
	le.PutUint32(b[Sections+40+16:], 0x100)
	le.PutUint32(b[Sections+40+20:], HeadersSize)
	return b
}
