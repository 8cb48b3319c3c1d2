package efi

import "encoding/binary"

// LoadOption is a boot option that names a file of a firmware volume.
type LoadOption struct {
	Attributes  uint32 // LOAD_OPTION_ACTIVE 0x1, HIDDEN 0x8, CATEGORY_APP 0x100
	Description string
	Volume      GUID
	File        GUID
}

// Encode is EFI_LOAD_OPTION (UEFI 2.10, 3.1.3) with the device path
// MEDIA_PIWG_FW_VOL / MEDIA_PIWG_FW_FILE / END (10.3.5.6, 10.3.5.5): attributes,
// u16 length of the path, description with NUL, path.
func (o LoadOption) Encode() []byte {
	path := append([]byte{4, 7, 20, 0}, o.Volume[:]...)
	path = append(append(path, 4, 6, 20, 0), o.File[:]...)
	path = append(path, 0x7f, 0xff, 4, 0)
	out := binary.LittleEndian.AppendUint32(nil, o.Attributes)
	out = binary.LittleEndian.AppendUint16(out, uint16(len(path)))
	out = append(out, UTF16(o.Description)...)
	return append(out, path...)
}
