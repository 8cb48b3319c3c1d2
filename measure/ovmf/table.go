package ovmf

import (
	"encoding/binary"
	"fmt"

	"github.com/secretvm/secretvm/measure/efi"
)

// The image ends at 4 GiB with the 32-byte reset vector. Below it lies the
// GUIDed table, which grows downwards:
//
//	entry: [ data ][ u16 length of data + 18 ][ 16-byte GUID ]
//
// The first entry from the top is the footer; its length is that of the table.
const (
	resetVectorSize = 32
	entryHeaderSize = 18
	maxImageSize    = 64 << 20
	pageSize        = 4096
)

var (
	footerGUID = efi.MustGUID("96b582de-1fb2-45f7-baea-a366c55a082d")
	tdvfGUID   = efi.MustGUID("e47a6535-984a-4798-865e-4685a7bf8ec2")
)

// tableEntry returns the data of the entry with the given GUID, which must be
// there.
func tableEntry(image []byte, want efi.GUID) ([]byte, error) {
	found, err := findEntry(image, want)
	if err == nil && found == nil {
		err = fmt.Errorf("GUIDed table has no entry %s", want)
	}
	return found, err
}

// findEntry returns the data of the entry with the given GUID, or nil where
// the table has none.
func findEntry(image []byte, want efi.GUID) ([]byte, error) {
	switch {
	case len(image) > maxImageSize:
		return nil, fmt.Errorf("image has %d bytes, want at most %d", len(image), maxImageSize)
	case len(image) == 0 || len(image)%pageSize != 0:
		return nil, fmt.Errorf("image has %d bytes, want whole pages of %d", len(image), pageSize)
	}
	table := image[:len(image)-resetVectorSize]
	footer := table[len(table)-entryHeaderSize:]
	if efi.GUID(footer[2:]) != footerGUID {
		return nil, fmt.Errorf("image has no GUIDed table: found %s, want %s", efi.GUID(footer[2:]), footerGUID)
	}
	size := int(binary.LittleEndian.Uint16(footer))
	if size < entryHeaderSize || size > len(table) {
		return nil, fmt.Errorf("GUIDed table has a length of %d bytes, want %d to %d", size, entryHeaderSize, len(table))
	}
	rest := table[len(table)-size : len(table)-entryHeaderSize]
	var found []byte
	for len(rest) > 0 {
		if len(rest) < entryHeaderSize {
			return nil, fmt.Errorf("GUIDed table: %d bytes are left, too few for an entry", len(rest))
		}
		header := rest[len(rest)-entryHeaderSize:]
		length, guid := int(binary.LittleEndian.Uint16(header)), efi.GUID(header[2:])
		if length < entryHeaderSize || length > len(rest) {
			return nil, fmt.Errorf("GUIDed table: entry %s has a length of %d bytes, want %d to %d", guid, length, entryHeaderSize, len(rest))
		}
		if guid == want {
			if found != nil {
				return nil, fmt.Errorf("GUIDed table: entry %s is there twice", guid)
			}
			found = rest[len(rest)-length : len(rest)-entryHeaderSize]
		}
		rest = rest[:len(rest)-length]
	}
	return found, nil
}
