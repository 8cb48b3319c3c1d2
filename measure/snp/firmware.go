package snp

import (
	"fmt"

	"github.com/secretvm/secretvm/measure/ovmf"
	"github.com/secretvm/secretvm/vm"
)

// Bounds on what a prediction takes from others.
const (
	maxSections   = 64
	maxSectionMem = 64 << 20 // bytes of all sections together
)

// Firmware is everything of a firmware image that the launch digest depends
// on. Registries record just these values ("ovmf_hash", "ovmf_sections",
// "sev_hashes_table_gpa", "sev_es_reset_eip").
type Firmware struct {
	// Hash is the launch digest after the pages of the image, which end at
	// 4 GiB. It stands for all the code.
	Hash vm.Register

	// Sections is the image's metadata: more pages, in this order.
	Sections []ovmf.SEVSection

	// HashTable is the guest physical address of the table of hashes. Zero
	// means that the firmware checks no kernel.
	HashTable uint32

	// ResetEIP is where application processors start.
	ResetEIP uint32
}

// ParseFirmware reads a whole firmware image and hashes its pages.
func ParseFirmware(image []byte) (Firmware, error) {
	sev, err := ovmf.ParseSEV(image)
	if err != nil {
		return Firmware{}, err
	}
	var d digest
	d.contents(normalPage, fourGiB-uint64(len(image)), image)
	f := Firmware{Hash: vm.Register(d), Sections: sev.Sections, HashTable: sev.HashTable, ResetEIP: sev.ResetEIP}
	return f, f.check()
}

func (f Firmware) check() error {
	if len(f.Sections) > maxSections {
		return fmt.Errorf("firmware has %d sections, want at most %d", len(f.Sections), maxSections)
	}
	total := uint64(0)
	for i, s := range f.Sections {
		total += uint64(s.Size)
		switch {
		case s.Size == 0: // as in builds for other TEEs; hypervisors do not agree on what it means
			return fmt.Errorf("section %d of the firmware, %s at %#x, is empty", i, s.Type, s.Address)
		case s.Address%pageSize != 0 || s.Size%pageSize != 0:
			return fmt.Errorf("section %d of the firmware, %s at %#x with %#x bytes, is not made of whole pages", i, s.Type, s.Address, s.Size)
		case total > maxSectionMem:
			return fmt.Errorf("sections of the firmware have more than %d MiB together", maxSectionMem>>20)
		case uint64(s.Address)+uint64(s.Size) > fourGiB:
			return fmt.Errorf("section %d of the firmware, %s at %#x with %#x bytes, ends above 4 GiB", i, s.Type, s.Address, s.Size)
		}
		switch s.Type {
		case ovmf.SecMem, ovmf.CallingArea:
		case ovmf.Secrets, ovmf.CPUID, ovmf.KernelHashes:
			if s.Size != pageSize {
				return fmt.Errorf("section %d of the firmware, %s, has %#x bytes, want one page", i, s.Type, s.Size)
			}
		default:
			return fmt.Errorf("section %d of the firmware has the unknown %s", i, s.Type)
		}
	}
	return nil
}

// section returns the section of a type, if there is one.
func (f Firmware) section(t ovmf.SEVSectionType) (ovmf.SEVSection, bool) {
	for _, s := range f.Sections {
		if s.Type == t {
			return s, true
		}
	}
	return ovmf.SEVSection{}, false
}
