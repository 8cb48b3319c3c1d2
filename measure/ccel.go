package measure

import (
	"encoding/binary"

	"github.com/secretvm/secretvm/measure/efi"
)

// CCEL encodes the log in the firmware's format (TCG PC Client Platform Firmware
// Profile 1.06, 10.4; UEFI 2.10, 38.4), without padding: as the area that the
// ACPI table CCEL points to, but for the address of the kernel, which is zero.
func (l Log) CCEL() []byte {
	le := binary.LittleEndian
	// TCG_PCR_EVENT: index, EV_NO_ACTION, digest of 20 bytes, size; in it
	// TCG_EfiSpecIDEvent: signature, platform class, version 2.0 errata 0, UINTN
	// of 8 bytes, one algorithm, SHA-384 of 48 bytes, no vendor information.
	out := le.AppendUint32(nil, 1)
	out = le.AppendUint32(out, 3)
	out = append(out, make([]byte, 20)...)
	spec := append([]byte("Spec ID Event03\x00"), 0, 0, 0, 0, 0, 2, 0, 2)
	spec = le.AppendUint32(spec, 1)
	spec = le.AppendUint16(le.AppendUint16(spec, algSHA384), 48)
	spec = append(spec, 0)
	out = append(le.AppendUint32(out, uint32(len(spec))), spec...)
	// CC_EVENT: index, where 1 is RTMR0, type, one digest, size, data.
	for _, e := range l {
		out = le.AppendUint32(out, uint32(e.Register)+1)
		out = le.AppendUint32(out, e.Type)
		out = le.AppendUint32(out, 1)
		out = le.AppendUint16(out, algSHA384)
		out = append(out, e.Digest[:]...)
		out = le.AppendUint32(out, uint32(len(e.Data)))
		out = append(out, e.Data...)
	}
	return out
}

// algSHA384 is TPM_ALG_SHA384 (TCG Algorithm Registry).
const algSHA384 = 0x000c

// Tags of Linux's EV_EVENT_TAG events (drivers/firmware/efi/libstub).
const (
	tagInitrd      uint32 = 0x8f3b22ec
	tagLoadOptions uint32 = 0x8f3b22ed
)

// tag is TCG_PCClientTaggedEvent: id, size, text with NUL.
func tag(id uint32, text string) []byte {
	b := binary.LittleEndian.AppendUint32(nil, id)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(text)+1))
	return append(append(b, text...), 0)
}

var hobList = efi.MustGUID("93bb96af-b9f2-4eb8-9462-e0ba74564236") // gUefiOvmfPkgTokenSpaceGuid

// handoffTable is UEFI_HANDOFF_TABLE_POINTERS2: description with its length and
// NUL, number of tables, GUID and address of the only one.
func handoffTable(address uint64) []byte {
	b := append([]byte{9}, "TdxTable\x00"...)
	b = binary.LittleEndian.AppendUint64(b, 1)
	b = append(b, hobList[:]...)
	return binary.LittleEndian.AppendUint64(b, address)
}

// firmwareVolume is UEFI_PLATFORM_FIRMWARE_BLOB2: description with its length
// and NUL, address, size. OVMF's early code leaves the volume's name blank.
func firmwareVolume(address, size uint64) []byte {
	const name = "Fv(XXXXXXXX-XXXX-XXXX-XXXX-XXXXXXXXXXXX)\x00"
	b := append([]byte{byte(len(name))}, name...)
	b = binary.LittleEndian.AppendUint64(b, address)
	return binary.LittleEndian.AppendUint64(b, size)
}

var kernelVolume = efi.MustGUID("1428f772-b64a-441e-b8c3-9ebdd7f893c7") // QEMU_KERNEL_LOADER_FS_MEDIA_GUID

// loadedImage is UEFI_IMAGE_LOAD_EVENT: address, which nobody can predict, size
// of the file, link-time address, length of the device path, device path
// (MEDIA_VENDOR / MEDIA_FILEPATH "kernel" / END).
func loadedImage(size int) []byte {
	path := append([]byte{4, 3, 20, 0}, kernelVolume[:]...)
	name := efi.UTF16("kernel")
	path = append(path, 4, 4, byte(4+len(name)), 0)
	path = append(path, name...)
	path = append(path, 0x7f, 0xff, 4, 0)
	b := make([]byte, 8, 32+len(path))
	b = binary.LittleEndian.AppendUint64(b, uint64(size))
	b = binary.LittleEndian.AppendUint64(b, 0)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(path)))
	return append(b, path...)
}
