package ovmf

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/secretvm/secretvm/measure/efi"
)

// SEVSectionType says what a section of the SEV metadata is for
// (OvmfPkg/ResetVector/X64/OvmfSevMetadata.asm).
type SEVSectionType uint32

// The section types that edk2 uses.
const (
	SecMem       SEVSectionType = 1    // zeroed scratch memory
	Secrets      SEVSectionType = 2    // the page into which the SNP firmware writes keys
	CPUID        SEVSectionType = 3    // the page of CPUID values that the SNP firmware checks
	CallingArea  SEVSectionType = 4    // SVSM calling area, zeroed
	KernelHashes SEVSectionType = 0x10 // the page with the table of kernel, initrd and command line
)

func (t SEVSectionType) String() string {
	switch t {
	case SecMem:
		return "SEC_MEM"
	case Secrets:
		return "SECRETS"
	case CPUID:
		return "CPUID"
	case CallingArea:
		return "SVSM_CAA"
	case KernelHashes:
		return "KERNEL_HASHES"
	}
	return fmt.Sprintf("type %#x", uint32(t))
}

// SEVSection is one row of the SEV metadata, in bytes of guest memory.
type SEVSection struct {
	Address uint32
	Size    uint32
	Type    SEVSectionType
}

// SEV is what an OVMF image says about its launch under SEV-SNP.
type SEV struct {
	Sections  []SEVSection // in the order of the metadata
	HashTable uint32       // guest physical address of the table of hashes; 0: the firmware takes none
	ResetEIP  uint32       // where application processors start; 0: the firmware does not say
	SVSM      bool         // whether this is an SVSM module, which starts SVSMEntry bytes into the image
	SVSMEntry uint32
}

// The metadata: "ASEV", u32 length, u32 version, u32 number of sections, and
// 12 bytes each.
const (
	sevHeaderSize  = 16
	sevSectionSize = 12
)

var (
	sevMetadataGUID = efi.MustGUID("dc886566-984a-4798-a75e-5585a7bf67cc")
	sevHashGUID     = efi.MustGUID("7255371f-3a3b-4b04-927b-1da6efa8d454")
	sevResetGUID    = efi.MustGUID("00f771de-1a7e-4fcb-890e-68c77e2fb44e")
	svsmInfoGUID    = efi.MustGUID("a789a612-0597-4c4b-a49f-cbb1fe9d1ddd")
)

// ParseSEV reads the SEV metadata of a firmware image, or of as much of its
// end as holds the table.
func ParseSEV(raw []byte) (SEV, error) {
	entry, err := tableEntry(raw, sevMetadataGUID)
	if err != nil {
		return SEV{}, fmt.Errorf("parse OVMF image: %w", err)
	}
	var sev SEV
	if sev.Sections, err = readSEVMetadata(raw, entry); err != nil {
		return SEV{}, fmt.Errorf("parse OVMF image: SEV metadata: %w", err)
	}
	for _, word := range []struct {
		guid efi.GUID
		to   *uint32
	}{{sevHashGUID, &sev.HashTable}, {sevResetGUID, &sev.ResetEIP}, {svsmInfoGUID, &sev.SVSMEntry}} {
		entry, err := findEntry(raw, word.guid)
		if err != nil {
			return SEV{}, fmt.Errorf("parse OVMF image: %w", err)
		}
		if entry == nil {
			continue
		}
		if len(entry) < 4 {
			return SEV{}, fmt.Errorf("parse OVMF image: GUIDed table: entry %s has %d bytes of data, want at least 4", word.guid, len(entry))
		}
		*word.to = binary.LittleEndian.Uint32(entry)
		sev.SVSM = sev.SVSM || word.to == &sev.SVSMEntry
	}
	return sev, nil
}

func readSEVMetadata(raw, entry []byte) ([]SEVSection, error) {
	if len(entry) != 4 {
		return nil, fmt.Errorf("its table entry has %d bytes, want 4", len(entry))
	}
	back := int64(binary.LittleEndian.Uint32(entry))
	if back < sevHeaderSize || back > int64(len(raw)) {
		return nil, fmt.Errorf("offset %#x from the end is outside the image", back)
	}
	d := raw[int64(len(raw))-back:]
	length, version, n := binary.LittleEndian.Uint32(d[4:]), binary.LittleEndian.Uint32(d[8:]), binary.LittleEndian.Uint32(d[12:])
	switch {
	case !bytes.Equal(d[:4], []byte("ASEV")):
		return nil, fmt.Errorf("signature is %q, want ASEV", d[:4])
	case version != 1:
		return nil, fmt.Errorf("version is %d, want 1", version)
	case n == 0 || n > maxSections:
		return nil, fmt.Errorf("it has %d sections, want 1 to %d", n, maxSections)
	case length != sevHeaderSize+n*sevSectionSize:
		return nil, fmt.Errorf("length is %d, want %d for %d sections", length, sevHeaderSize+n*sevSectionSize, n)
	case int64(length) > back:
		return nil, fmt.Errorf("its %d sections overrun the image", n)
	}
	sections := make([]SEVSection, n)
	for i := range sections {
		b := d[sevHeaderSize+i*sevSectionSize:]
		sections[i] = SEVSection{
			Address: binary.LittleEndian.Uint32(b[0:]),
			Size:    binary.LittleEndian.Uint32(b[4:]),
			Type:    SEVSectionType(binary.LittleEndian.Uint32(b[8:])),
		}
	}
	return sections, nil
}
