package linuxboot

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// Fields of the setup header (Documentation/arch/x86/boot.rst in Linux), as
// offsets in the file.
const (
	headerMagic     = 0x202 // "HdrS"
	protocolVersion = 0x206 // u16
	loaderType      = 0x210 // u8
	loadFlags       = 0x211 // u8
	ramdiskImage    = 0x218 // u32
	ramdiskSize     = 0x21c // u32
	heapEnd         = 0x224 // u16
	commandLineAt   = 0x228 // u32
	initrdLimit     = 0x22c // u32
	xLoadFlags      = 0x236 // u16
	setupHeaderEnd  = 0x238
)

// What QEMU writes (hw/i386/x86-common.c, x86_load_linux).
const (
	loaderQEMU     = 0xb0
	canUseHeap     = 0x80
	heapEndValue   = 0xfe00
	commandLine    = 0x20000
	above4G        = 1 << 1 // XLF_CAN_BE_LOADED_ABOVE_4G
	acpiDataSize   = 0x28000
	lowMemoryLimit = 0xb000_0000
	lowMemory      = 0x8000_0000
)

// Patch returns a kernel as QEMU up to 9.x hands it over, and later ones to
// machines that are not confidential: with QEMU's own values in the setup
// header. They depend on the initrd's size and, below 2816 MiB, on the memory,
// both in bytes.
func Patch(kernel []byte, options string, initrd int, memory int64) ([]byte, error) {
	le := binary.LittleEndian
	if len(kernel) < setupHeaderEnd || string(kernel[headerMagic:headerMagic+4]) != "HdrS" {
		return nil, errors.New("patch kernel: it has no Linux setup header")
	}
	version := le.Uint16(kernel[protocolVersion:])
	if version < 0x20c {
		return nil, fmt.Errorf("patch kernel: boot protocol is %#x, want 0x20c or later", version)
	}
	if strings.Contains(options, "vga=") {
		return nil, errors.New("patch kernel: vga= in the command line is not supported")
	}
	out := bytes.Clone(kernel)
	out[loaderType] = loaderQEMU
	out[loadFlags] |= canUseHeap
	le.PutUint16(out[heapEnd:], heapEndValue)
	le.PutUint32(out[commandLineAt:], commandLine)
	if initrd > 0 {
		limit := uint32(0xffffffff)
		if le.Uint16(kernel[xLoadFlags:])&above4G == 0 {
			limit = le.Uint32(kernel[initrdLimit:])
		}
		low := int64(lowMemory)
		if memory < lowMemoryLimit {
			low = memory
		}
		limit = uint32(min(int64(limit), low-acpiDataSize-1))
		if int64(initrd) >= int64(limit) {
			return nil, fmt.Errorf("patch kernel: an initrd of %d bytes does not fit below %#x", initrd, limit)
		}
		le.PutUint32(out[ramdiskImage:], (limit-uint32(initrd))&^4095)
		le.PutUint32(out[ramdiskSize:], uint32(initrd))
	}
	return out, nil
}
