package eventlog

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// qemuKernelVolume stands for the kernel that QEMU was given: the volume of
// OVMF's QemuKernelLoaderFsDxe.
const qemuKernelVolume = "VenMedia(1428f772-b64a-441e-b8c3-9ebdd7f893c7)"

// devicePath writes a device path for people (UEFI 2.10, 10.3): nodes of type,
// sub-type, length including this head, and data.
func devicePath(b []byte) string {
	const mostNodes = 16
	var nodes []string
	for len(b) >= 4 && len(nodes) < mostNodes {
		n := int(binary.LittleEndian.Uint16(b[2:]))
		if n < 4 || n > len(b) {
			nodes = append(nodes, "unreadable")
			break
		}
		if b[0] == 0x7f { // end
			break
		}
		nodes = append(nodes, pathNode(b[0], b[1], b[4:n]))
		b = b[n:]
	}
	if len(nodes) == 0 {
		return "an unnamed place"
	}
	return printable(strings.Join(nodes, "/"))
}

func pathNode(kind, sub byte, data []byte) string {
	switch {
	case kind == 0x01 && sub == 0x01 && len(data) == 2:
		return fmt.Sprintf("Pci(%x,%x)", data[1], data[0])
	case kind == 0x02 && sub == 0x01 && len(data) == 8:
		return fmt.Sprintf("PciRoot(%x)", binary.LittleEndian.Uint32(data[4:]))
	case kind == 0x03 && sub == 0x02 && len(data) == 4:
		return fmt.Sprintf("Scsi(%d,%d)", binary.LittleEndian.Uint16(data), binary.LittleEndian.Uint16(data[2:]))
	case kind == 0x04 && sub == 0x01 && len(data) == 38 && data[37] == 2:
		return fmt.Sprintf("HD(%d,GPT,%s)", binary.LittleEndian.Uint32(data), guid(data[20:36]))
	case kind == 0x04 && sub == 0x03 && len(data) >= 16:
		return "VenMedia(" + guid(data[:16]) + ")"
	case kind == 0x04 && sub == 0x04:
		s, err := utf16Text(data)
		if err != nil {
			return "File(unreadable)"
		}
		return strings.TrimRight(s, "\x00")
	case kind == 0x04 && sub == 0x06 && len(data) == 16:
		return "FvFile(" + guid(data) + ")"
	case kind == 0x04 && sub == 0x07 && len(data) == 16:
		return "Fv(" + guid(data) + ")"
	}
	return fmt.Sprintf("%#02x.%#02x", kind, sub)
}
