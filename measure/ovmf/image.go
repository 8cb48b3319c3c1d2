package ovmf

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/secretvm/secretvm/measure/efi"
)

// SectionType says what a section is for (TDVF Design Guide, table 11-2).
type SectionType uint32

// The section types that edk2 uses.
const (
	BFV     SectionType = 0 // boot firmware volume: code, measured into MRTD
	CFV     SectionType = 1 // configuration firmware volume: the variable store
	TDHOB   SectionType = 2 // where the VMM writes the hand-off block
	TempMem SectionType = 3 // zeroed scratch memory
)

func (t SectionType) String() string {
	switch t {
	case BFV:
		return "BFV"
	case CFV:
		return "CFV"
	case TDHOB:
		return "TD_HOB"
	case TempMem:
		return "TempMem"
	}
	return fmt.Sprintf("type %d", uint32(t))
}

// Attributes of a section.
const (
	MRExtend uint32 = 1 << 0 // contents are measured at launch
	PageAug  uint32 = 1 << 1 // pages are added by the guest later
)

// Section is one row of the TDVF metadata. All values are in bytes.
type Section struct {
	DataOffset uint32 // of the contents, from the start of the image
	RawSize    uint32 // of the contents; 0: there are none
	Address    uint64 // guest physical
	Size       uint64 // of the memory
	Type       SectionType
	Attributes uint32
}

// Image is a parsed firmware image.
type Image struct {
	Sections []Section // in the order of the metadata
	raw      []byte
}

// The descriptor: "TDVF", u32 length, u32 version, u32 number of sections, and
// 32 bytes each. A GUID stands in the 16 bytes before it.
const (
	descriptorSize = 16
	sectionSize    = 32
	maxSections    = 32
)

var metadataGUID = efi.MustGUID("e9eaf9f3-168e-44d5-a8eb-7f4d8738f6ae")

// Parse reads the TDVF metadata of a whole OVMF image (code and variables).
func Parse(raw []byte) (*Image, error) {
	entry, err := tableEntry(raw, tdvfGUID)
	if err != nil {
		return nil, fmt.Errorf("parse OVMF image: %w", err)
	}
	image := &Image{raw: raw}
	if image.Sections, err = readMetadata(raw, entry); err != nil {
		return nil, fmt.Errorf("parse OVMF image: TDVF metadata: %w", err)
	}
	if err := image.check(); err != nil {
		return nil, fmt.Errorf("parse OVMF image: TDVF metadata: %w", err)
	}
	return image, nil
}

// Contents returns the bytes of a section; they alias the image.
func (i *Image) Contents(s Section) []byte {
	return i.raw[s.DataOffset:][:s.RawSize]
}

// Section returns the only section of a type, BFV, CFV or TDHOB.
func (i *Image) Section(t SectionType) Section {
	for _, s := range i.Sections {
		if s.Type == t {
			return s
		}
	}
	return Section{} // check has made sure that there is one
}

func readMetadata(raw, entry []byte) ([]Section, error) {
	if len(entry) != 4 {
		return nil, fmt.Errorf("its table entry has %d bytes, want 4", len(entry))
	}
	back := int64(binary.LittleEndian.Uint32(entry))
	start := int64(len(raw)) - back
	if start < int64(len(efi.GUID{})) || back < descriptorSize {
		return nil, fmt.Errorf("offset %#x from the end is outside the image", back)
	}
	if found := efi.GUID(raw[start-16:]); found != metadataGUID {
		return nil, fmt.Errorf("found %s before it, want %s", found, metadataGUID)
	}
	d := raw[start:]
	length, version, n := binary.LittleEndian.Uint32(d[4:]), binary.LittleEndian.Uint32(d[8:]), binary.LittleEndian.Uint32(d[12:])
	switch {
	case !bytes.Equal(d[:4], []byte("TDVF")):
		return nil, fmt.Errorf("signature is %q, want TDVF", d[:4])
	case version != 1:
		return nil, fmt.Errorf("version is %d, want 1", version)
	case n == 0 || n > maxSections:
		return nil, fmt.Errorf("it has %d sections, want 1 to %d", n, maxSections)
	case length != descriptorSize+n*sectionSize:
		return nil, fmt.Errorf("length is %d, want %d for %d sections", length, descriptorSize+n*sectionSize, n)
	case int64(length) > back:
		return nil, fmt.Errorf("its %d sections overrun the image", n)
	}
	sections := make([]Section, n)
	for i := range sections {
		b := d[descriptorSize+i*sectionSize:]
		sections[i] = Section{
			DataOffset: binary.LittleEndian.Uint32(b[0:]),
			RawSize:    binary.LittleEndian.Uint32(b[4:]),
			Address:    binary.LittleEndian.Uint64(b[8:]),
			Size:       binary.LittleEndian.Uint64(b[16:]),
			Type:       SectionType(binary.LittleEndian.Uint32(b[24:])),
			Attributes: binary.LittleEndian.Uint32(b[28:]),
		}
	}
	return sections, nil
}
