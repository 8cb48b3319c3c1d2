package linux

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/secretvm/secretvm/measure/linuxboot"
)

// InitramfsSize is the size of the initramfs of every image with this kernel, in
// bytes: what is shorter is padded with zeros, which the kernel skips. QEMU
// writes the size into the kernel's setup header, where it is measured; a
// constant can be there before.
const InitramfsSize = 2 << 20

// Fields of the setup header (Documentation/arch/x86/boot.rst in Linux), as
// offsets in the file.
const (
	headerMagic   = 0x202 // "HdrS"
	initrdAddrMax = 0x22c // u32
	xLoadFlags    = 0x236 // u16
	headerEnd     = 0x238
)

const (
	// above4G is XLF_CAN_BE_LOADED_ABOVE_4G: where it is set, QEMU puts the initrd
	// at the end of memory, whose address then depends on the machine.
	above4G = 1 << 1
	// initrdEnd is the last address that QEMU may put the initrd at without it:
	// every machine with at least 512 MiB has memory there. Nothing reads the
	// initrd at that address: firmware hands it to the kernel by a protocol of its
	// own (LINUX_EFI_INITRD_MEDIA_GUID), and the EFI stub starts from a header of
	// its own (efi_pe_entry in drivers/firmware/efi/libstub/x86-stub.c).
	initrdEnd = 256<<20 - 1
)

// Preset returns a kernel with what QEMU writes into its setup header in place:
// patching changes nothing any more, in any machine with at least 512 MiB and an
// initrd of InitramfsSize bytes.
func Preset(bzImage []byte) ([]byte, error) {
	if len(bzImage) < headerEnd || string(bzImage[headerMagic:headerMagic+4]) != "HdrS" {
		return nil, errors.New("preset kernel: it has no Linux setup header")
	}
	out := append([]byte{}, bzImage...)
	le := binary.LittleEndian
	le.PutUint16(out[xLoadFlags:], le.Uint16(out[xLoadFlags:])&^above4G)
	le.PutUint32(out[initrdAddrMax:], initrdEnd)
	return linuxboot.Patch(out, "", InitramfsSize, 512<<20)
}

// Pad returns an initramfs with InitramfsSize bytes.
func Pad(initramfs []byte) ([]byte, error) {
	if len(initramfs) > InitramfsSize {
		return nil, fmt.Errorf("initramfs has %d bytes, the kernel's header has room for %d "+
			"(InitramfsSize in image/linux; another size makes another kernel)", len(initramfs), InitramfsSize)
	}
	return append(initramfs[:len(initramfs):len(initramfs)], make([]byte, InitramfsSize-len(initramfs))...), nil
}
