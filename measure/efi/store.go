package efi

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf16"
)

// Variable is one variable in a firmware's store.
type Variable struct {
	Vendor GUID
	Name   string
	Data   []byte // aliases the volume
}

var (
	storeVolume        = MustGUID("fff12b8d-7696-4c8b-a985-2747075b4f50") // EFI_SYSTEM_NV_DATA_FV_GUID
	authenticatedStore = MustGUID("aaf32c78-947b-439a-a180-2e144ec37792") // gEfiAuthenticatedVariableGuid
)

// Layout of a volume and of the store in it (edk2 MdeModulePkg
// Include/Guid/VariableFormat.h).
const (
	volumeHeaderSize   = 0x38 // without the block map
	storeHeaderSize    = 28
	variableHeaderSize = 60
	variableStart      = 0x55aa
	variableAdded      = 0x3f // state of a variable that counts
	variableReplaced   = 0x3e // and that counts until its successor is written
	maxVariables       = 256
)

// StoredVariables returns the variables in a firmware's configuration volume
// that count. A blank store has none.
func StoredVariables(volume []byte) ([]Variable, error) {
	store, err := storeOf(volume)
	if err != nil {
		return nil, fmt.Errorf("read variable store: %w", err)
	}
	le := binary.LittleEndian
	var out []Variable
	for at := 0; at+variableHeaderSize <= len(store) && le.Uint16(store[at:]) == variableStart; {
		header := store[at:]
		state, nameSize, dataSize := header[2], int64(le.Uint32(header[36:])), int64(le.Uint32(header[40:]))
		end := int64(at) + variableHeaderSize + nameSize + dataSize
		switch {
		case len(out) == maxVariables:
			return nil, fmt.Errorf("read variable store: more than %d variables", maxVariables)
		case end > int64(len(store)):
			return nil, fmt.Errorf("read variable store: the variable at %#x ends behind the store", at)
		case nameSize < 2 || nameSize%2 != 0:
			return nil, fmt.Errorf("read variable store: the variable at %#x has a name of %d bytes", at, nameSize)
		}
		if state == variableAdded || state == variableReplaced {
			name := header[variableHeaderSize:][:nameSize-2] // without NUL
			out = append(out, Variable{GUID(header[44:]), utf16Text(name), header[variableHeaderSize+nameSize:][:dataSize]})
		}
		at = int(end+3) &^ 3
	}
	return out, nil
}

// storeOf returns what is behind the store's header.
func storeOf(volume []byte) ([]byte, error) {
	le := binary.LittleEndian
	switch {
	case len(volume) < volumeHeaderSize || string(volume[0x28:0x2c]) != "_FVH":
		return nil, errors.New("it is no firmware volume")
	case GUID(volume[16:]) != storeVolume:
		return nil, fmt.Errorf("the volume is of kind %s, want %s", GUID(volume[16:]), storeVolume)
	case le.Uint64(volume[0x20:]) > uint64(len(volume)):
		return nil, fmt.Errorf("the volume has %d bytes, its header says %d", len(volume), le.Uint64(volume[0x20:]))
	}
	start := int(le.Uint16(volume[0x30:]))
	if start < volumeHeaderSize || start+storeHeaderSize > len(volume) {
		return nil, fmt.Errorf("the volume's header has %d bytes", start)
	}
	store := volume[start:]
	if GUID(store) != authenticatedStore {
		return nil, fmt.Errorf("the store is of kind %s, want %s", GUID(store), authenticatedStore)
	}
	size := le.Uint32(store[16:])
	if size < storeHeaderSize || uint64(size) > uint64(len(store)) {
		return nil, fmt.Errorf("the store has %d bytes, want %d to %d", size, storeHeaderSize, len(store))
	}
	return store[storeHeaderSize:size], nil
}

func utf16Text(b []byte) string {
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(b[2*i:])
	}
	return string(utf16.Decode(units))
}
