package linuxboot

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"slices"
)

const (
	maxKernelSize    = 256 << 20
	maxSections      = 96 // as the Windows loader has it
	machineX86_64    = 0x8664
	magicPE32Plus    = 0x20b
	securityEntry    = 4 // index of the certificate table's data directory
	dosHeaderSize    = 0x40
	coffHeaderSize   = 20
	sectionEntrySize = 40
)

// Authenticode writes to h the parts of a PE image that its Authenticode digest
// covers, as edk2 measures them (SecurityPkg/Library/DxeTpmMeasureBootLib,
// TCG PC Client Platform Firmware Profile 3.3.4.8): everything but the
// checksum, the certificate table's directory entry and the table itself.
//
// The image must be the file as the firmware gets it: QEMU 10.2 and later do
// not patch the setup header for a confidential guest.
func Authenticode(h hash.Hash, image []byte) error {
	pe, err := parsePE(image)
	if err != nil {
		return fmt.Errorf("kernel is not a PE image that can be measured: %w", err)
	}
	h.Write(image[:pe.checksum])
	if pe.security == 0 {
		h.Write(image[pe.checksum+4 : pe.headers])
	} else {
		h.Write(image[pe.checksum+4 : pe.security])
		h.Write(image[pe.security+8 : pe.headers])
	}
	end := pe.headers
	for _, s := range pe.sections {
		h.Write(image[s.offset:][:s.size])
		end += s.size
	}
	h.Write(image[end : len(image)-pe.certificates])
	return nil
}

type section struct{ offset, size int }

// peLayout holds the offsets that matter, in bytes from the start of the file.
type peLayout struct {
	checksum     int
	security     int // the directory entry; 0: the header has none
	headers      int // size of all headers
	sections     []section
	certificates int // size of the certificate table at the end of the file
}

// parsePE reads the headers (Microsoft PE Format) and makes sure that headers,
// sections and certificates lie in the file without gap or overlap, so that no
// byte goes unmeasured and none is measured twice.
func parsePE(b []byte) (peLayout, error) {
	var pe peLayout
	le := binary.LittleEndian
	if len(b) > maxKernelSize {
		return pe, fmt.Errorf("it has %d bytes, want at most %d", len(b), maxKernelSize)
	}
	if len(b) < dosHeaderSize || string(b[:2]) != "MZ" {
		return pe, errors.New("it does not begin with MZ")
	}
	coff := int64(le.Uint32(b[0x3c:])) + 4
	opt := coff + coffHeaderSize
	if coff-4 < dosHeaderSize || opt+112 > int64(len(b)) || string(b[coff-4:coff]) != "PE\x00\x00" {
		return pe, errors.New("there is no PE header where the MZ header points")
	}
	count, optSize := int(le.Uint16(b[coff+2:])), int64(le.Uint16(b[coff+16:]))
	directories := le.Uint32(b[opt+108:])
	table := opt + optSize
	headers := int64(le.Uint32(b[opt+60:]))
	switch {
	case le.Uint16(b[coff:]) != machineX86_64:
		return pe, fmt.Errorf("machine is %#x, want x86-64", le.Uint16(b[coff:]))
	case le.Uint16(b[opt:]) != magicPE32Plus:
		return pe, fmt.Errorf("optional header has the magic %#x, want PE32+", le.Uint16(b[opt:]))
	case directories > 16 || optSize < 112+8*int64(directories):
		return pe, fmt.Errorf("optional header of %d bytes has no room for %d data directories", optSize, directories)
	case count == 0 || count > maxSections:
		return pe, fmt.Errorf("it has %d sections, want 1 to %d", count, maxSections)
	case headers < table+int64(count)*sectionEntrySize || headers > int64(len(b)):
		return pe, fmt.Errorf("headers have %d bytes, which the section table overruns or the file does not hold", headers)
	}
	pe.checksum, pe.headers = int(opt)+64, int(headers)
	if directories > securityEntry {
		pe.security = int(opt) + 112 + 8*securityEntry
		pe.certificates = int(le.Uint32(b[pe.security+4:]))
	}
	for i := range count {
		s := b[table+int64(i)*sectionEntrySize:]
		if size := int(le.Uint32(s[16:])); size > 0 {
			pe.sections = append(pe.sections, section{int(le.Uint32(s[20:])), size})
		}
	}
	return pe, pe.checkCover(len(b), b)
}

func (pe *peLayout) checkCover(size int, b []byte) error {
	slices.SortFunc(pe.sections, func(a, b section) int { return a.offset - b.offset })
	end := pe.headers
	for i, s := range pe.sections {
		if s.offset != end {
			return fmt.Errorf("section %d begins at %#x, want %#x: a gap or an overlap", i, s.offset, end)
		}
		if end += s.size; end > size {
			return fmt.Errorf("section %d ends at %#x, behind the file's %#x bytes", i, end, size)
		}
	}
	if pe.certificates > size-end {
		return fmt.Errorf("certificate table has %d bytes, where %d are left", pe.certificates, size-end)
	}
	if pe.certificates > 0 && int(binary.LittleEndian.Uint32(b[pe.security:])) != size-pe.certificates {
		return errors.New("certificate table is not at the end of the file")
	}
	return nil
}
