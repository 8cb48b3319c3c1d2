// Package ovmftest makes small firmware images for tests: the layout of OVMF's
// IntelTdx build with a blank variable store and arbitrary code.
package ovmftest

import (
	"encoding/binary"

	"github.com/secretvm/secretvm/measure/efi"
	"github.com/secretvm/secretvm/measure/ovmf"
)

// Offsets in Image, in bytes from its end.
const (
	Footer     = 32 + 18     // of the GUIDed table
	TDVFEntry  = Footer + 18 // its u16 length and GUID
	ResetEntry = TDVFEntry + 22
	Descriptor = 0x800
)

// Size is that of Image: the variable store and 496 KiB of code.
const (
	VarsSize = 0x84000
	Size     = 1 << 20
)

// Sections are those of Image, at the addresses of OVMF's IntelTdx build.
func Sections() []ovmf.Section {
	const base = 4<<30 - Size
	return []ovmf.Section{
		{DataOffset: VarsSize, RawSize: Size - VarsSize, Address: base + VarsSize, Size: Size - VarsSize, Type: ovmf.BFV, Attributes: ovmf.MRExtend},
		{RawSize: VarsSize, Address: base, Size: VarsSize, Type: ovmf.CFV},
		{Address: 0x810000, Size: 0x10000, Type: ovmf.TempMem},
		{Address: 0x80b000, Size: 0x2000, Type: ovmf.TempMem},
		{Address: 0x809000, Size: 0x2000, Type: ovmf.TDHOB},
		{Address: 0x800000, Size: 0x6000, Type: ovmf.TempMem},
	}
}

// Image returns a firmware image with the given sections.
func Image(sections []ovmf.Section) []byte {
	image := make([]byte, Size)
	copy(image, BlankVars())
	for i := VarsSize; i < Size; i++ {
		image[i] = byte(i * 7 >> 3)
	}
	le := binary.LittleEndian
	put := func(back int, b []byte) { copy(image[Size-back:], b) }

	put(Footer, entry(62, "96b582de-1fb2-45f7-baea-a366c55a082d"))
	put(TDVFEntry, entry(22, "e47a6535-984a-4798-865e-4685a7bf8ec2"))
	put(TDVFEntry+4, le.AppendUint32(nil, Descriptor))
	put(ResetEntry, entry(22, "00f771de-1a7e-4fcb-890e-68c77e2fb44e"))

	guid := efi.MustGUID("e9eaf9f3-168e-44d5-a8eb-7f4d8738f6ae")
	put(Descriptor+16, guid[:])
	d := []byte("TDVF")
	d = le.AppendUint32(d, uint32(16+32*len(sections)))
	d = le.AppendUint32(d, 1)
	d = le.AppendUint32(d, uint32(len(sections)))
	for _, s := range sections {
		d = le.AppendUint32(d, s.DataOffset)
		d = le.AppendUint32(d, s.RawSize)
		d = le.AppendUint64(d, s.Address)
		d = le.AppendUint64(d, s.Size)
		d = le.AppendUint32(d, uint32(s.Type))
		d = le.AppendUint32(d, s.Attributes)
	}
	put(Descriptor, d)
	return image
}

func entry(length uint16, guid string) []byte {
	g := efi.MustGUID(guid)
	return append(binary.LittleEndian.AppendUint16(nil, length), g[:]...)
}

// BlankVars is the empty variable store of OVMF's 4 MiB layout (edk2
// OvmfPkg/VarStore.fdf.inc): a firmware volume that holds an authenticated
// variable store, and the header of the fault-tolerant write area.
func BlankVars() []byte {
	vars := make([]byte, VarsSize)
	for i := range vars {
		vars[i] = 0xff
	}
	le := binary.LittleEndian
	guid := func(s string) []byte { g := efi.MustGUID(s); return g[:] }

	volume := append(make([]byte, 16), guid("fff12b8d-7696-4c8b-a985-2747075b4f50")...) // EFI_SYSTEM_NV_DATA_FV_GUID
	volume = le.AppendUint64(volume, VarsSize)
	volume = append(volume, "_FVH"...)
	volume = le.AppendUint32(volume, 0x0004feff)    // attributes
	volume = le.AppendUint16(volume, 0x48)          // header length
	volume = le.AppendUint16(volume, 0xb8af)        // checksum
	volume = append(volume, 0, 0, 0, 2)             // no extension, revision 2
	volume = le.AppendUint32(volume, VarsSize/4096) // block map
	volume = le.AppendUint32(volume, 4096)
	volume = append(volume, make([]byte, 8)...)

	store := guid("aaf32c78-947b-439a-a180-2e144ec37792") // gEfiAuthenticatedVariableGuid
	store = le.AppendUint32(store, 0x3ffb8)
	store = append(store, 0x5a, 0xfe, 0, 0, 0, 0, 0, 0) // formatted, healthy

	write := guid("9e58292b-7c68-497d-a0ce-6500fd9f1b95") // gEdkiiWorkingBlockSignatureGuid
	write = le.AppendUint32(write, 0x642caf2c)            // CRC-32
	write = append(write, 0xfe, 0xff, 0xff, 0xff)
	write = le.AppendUint64(write, 0xfe0)

	copy(vars, append(volume, store...))
	copy(vars[0x41000:], write)
	return vars
}
