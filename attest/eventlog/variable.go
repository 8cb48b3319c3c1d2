package eventlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode/utf16"
)

// variable is UEFI_VARIABLE_DATA (PC Client Platform Firmware Profile,
// 10.2.6): vendor GUID, lengths of name (in UTF-16 units) and data, name, data.
type variable struct {
	vendor string
	name   string // as logged; not yet fit to print
	data   []byte
}

func parseVariable(b []byte) (variable, error) {
	const head = 32
	if len(b) < head {
		return variable{}, errors.New("variable is cut off")
	}
	name, data := binary.LittleEndian.Uint64(b[16:]), binary.LittleEndian.Uint64(b[24:])
	rest := b[head:]
	if name > uint64(len(rest))/2 || data != uint64(len(rest))-2*name {
		return variable{}, errors.New("lengths of the variable do not fit its event")
	}
	s, err := utf16Text(rest[:2*name])
	return variable{vendor: guid(b[:16]), name: s, data: rest[2*name:]}, err
}

func utf16Text(b []byte) (string, error) {
	if len(b)%2 != 0 {
		return "", errors.New("UTF-16 text of odd length")
	}
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(b[2*i:])
	}
	return string(utf16.Decode(units)), nil
}

// guid writes 16 bytes in EFI's mixed order.
func guid(b []byte) string {
	return fmt.Sprintf("%08x-%04x-%04x-%x-%x", binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint16(b[4:]),
		binary.LittleEndian.Uint16(b[6:]), b[8:10], b[10:16])
}

func bootOrder(b []byte) string {
	const most = 16
	var options []string
	for i := 0; i+2 <= len(b) && i < 2*most; i += 2 {
		options = append(options, fmt.Sprintf("%04X", binary.LittleEndian.Uint16(b[i:])))
	}
	if len(b) > 2*most {
		options = append(options, "…")
	}
	return strings.Join(options, " ")
}

// loadOption reads EFI_LOAD_OPTION (UEFI 2.10, 3.1.3): attributes, length of
// the path, description in UTF-16 with NUL, path.
func loadOption(b []byte) string {
	for i := 6; i+2 <= len(b); i += 2 {
		if b[i] != 0 || b[i+1] != 0 {
			continue
		}
		description, _ := utf16Text(b[6:i])
		path := b[i+2:]
		if n := int(binary.LittleEndian.Uint16(b[4:])); n <= len(path) {
			return printable(fmt.Sprintf("%q from %s", description, devicePath(path[:n])))
		}
		break
	}
	return "unreadable"
}
