package linuxboot

import (
	"fmt"

	"github.com/secretvm/secretvm/measure/efi"
)

// MaxCommandLine is the longest command line of an x86 kernel, in bytes
// (COMMAND_LINE_SIZE less its NUL).
const MaxCommandLine = 2047

// InitrdToken says where OVMF puts "initrd=initrd" when there is one.
type InitrdToken int

const (
	// Suffix is what OVMF does before edk2-stable202508.
	Suffix InitrdToken = iota
	// Prefix is what it does since.
	Prefix
)

// LoadOptions is the measured form of a command line: what OVMF's
// QemuLoadKernelImage makes of it, as UTF-16LE with a final NUL.
func LoadOptions(commandLine string, initrd bool, token InitrdToken) ([]byte, error) {
	if len(commandLine) > MaxCommandLine {
		return nil, fmt.Errorf("kernel command line has %d bytes, want at most %d", len(commandLine), MaxCommandLine)
	}
	for i, c := range []byte(commandLine) {
		if c < ' ' || c > '~' {
			return nil, fmt.Errorf("kernel command line: byte %d is %#02x, want printable ASCII only", i, c)
		}
	}
	switch {
	case !initrd:
		return efi.UTF16(commandLine), nil
	case token == Prefix:
		return efi.UTF16("initrd=initrd " + commandLine), nil
	default:
		return efi.UTF16(commandLine + " initrd=initrd"), nil
	}
}
