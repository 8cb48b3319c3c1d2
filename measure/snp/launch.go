package snp

import (
	"fmt"

	"github.com/secretvm/secretvm/measure/ovmf"
	"github.com/secretvm/secretvm/vm"
)

// maxCPUs bounds the work that a prediction of somebody else's launch costs.
const maxCPUs = 512

// SEV_FEATURES bits that hosts set (AMD64 manual, volume 2, table B-4).
const (
	SNPActive uint64 = 1 << 0
	DebugSwap uint64 = 1 << 5 // the default of some host kernels from 6.6 on
)

// Launch is everything that the launch digest of a machine depends on.
type Launch struct {
	Firmware Firmware
	Hashes   *Hashes // nil: launched without kernel-hashes=on
	CPUs     int     // how many virtual CPUs, 1 to 512
	CPU      uint32  // signature of the CPU model (Signature); EC2 and GCE measure none
	Features uint64  // SEV_FEATURES; 0 means SNPActive alone
	VMM      VMM
}

func (l Launch) features() uint64 {
	if l.Features == 0 {
		return SNPActive
	}
	return l.Features
}

// Predict computes the launch digest.
func Predict(l Launch) (vm.Register, error) {
	if err := l.check(); err != nil {
		return vm.Register{}, fmt.Errorf("predict SNP launch digest: %w", err)
	}
	d := digest(l.Firmware.Hash)
	if err := l.sections(&d); err != nil {
		return vm.Register{}, fmt.Errorf("predict SNP launch digest: %w", err)
	}
	d.contents(vmsaPage, vmsaAddress, l.at(bootEIP).vmsa())
	if l.CPUs > 1 {
		page := l.at(l.Firmware.ResetEIP).vmsa()
		for range l.CPUs - 1 {
			d.contents(vmsaPage, vmsaAddress, page)
		}
	}
	return vm.Register(d), nil
}

func (l Launch) check() error {
	if err := l.Firmware.check(); err != nil {
		return err
	}
	switch {
	case l.CPUs < 1 || l.CPUs > maxCPUs:
		return fmt.Errorf("machine has %d CPUs, want 1 to %d", l.CPUs, maxCPUs)
	case l.CPUs > 1 && l.Firmware.ResetEIP == 0:
		return fmt.Errorf("machine has %d CPUs, and the firmware does not say where the others start", l.CPUs)
	case l.features()&SNPActive == 0:
		return fmt.Errorf("SEV features %#x are not those of an SNP machine", l.features())
	case l.VMM < QEMU || l.VMM > GCE:
		return fmt.Errorf("%s is unknown", l.VMM)
	}
	if l.Hashes == nil {
		return nil
	}
	section, ok := l.Firmware.section(ovmf.KernelHashes)
	switch {
	case l.Firmware.HashTable == 0 || !ok:
		return fmt.Errorf("the firmware takes no hashes of kernel, initrd and command line")
	case section.Address != l.Firmware.HashTable&^(pageSize-1):
		return fmt.Errorf("the table of hashes at %#x is not in the page at %#x that the firmware has for it", l.Firmware.HashTable, section.Address)
	}
	return nil
}

// sections adds the pages that the firmware's metadata names, in its order.
func (l Launch) sections(d *digest) error {
	var late []uint64 // EC2 adds CPUID pages last
	for _, s := range l.Firmware.Sections {
		address, size := uint64(s.Address), uint64(s.Size)
		switch s.Type {
		case ovmf.SecMem:
			kind := zeroPage
			if l.VMM == GCE {
				kind = unmeasuredPage
			}
			d.blank(kind, address, size)
		case ovmf.CallingArea:
			d.blank(zeroPage, address, size)
		case ovmf.Secrets:
			d.blank(secretsPage, address, size)
		case ovmf.CPUID:
			if l.VMM == EC2 || l.VMM == EC2Old {
				late = append(late, address)
				continue
			}
			d.blank(cpuidPage, address, size)
		case ovmf.KernelHashes:
			if l.Hashes == nil {
				d.blank(zeroPage, address, size)
				continue
			}
			page, err := l.Hashes.page(l.Firmware.HashTable)
			if err != nil {
				return err
			}
			d.contents(normalPage, address, page)
		}
	}
	for _, address := range late {
		d.blank(cpuidPage, address, pageSize)
	}
	return nil
}
