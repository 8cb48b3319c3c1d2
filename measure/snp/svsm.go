package snp

import (
	"encoding/binary"
	"fmt"

	"github.com/secretvm/secretvm/measure/ovmf"
	"github.com/secretvm/secretvm/vm"
)

// PredictSVSM computes the launch digest of a machine whose firmware lies
// below a secure VM service module (COCONUT-SVSM): the pages of the firmware,
// which end at 4 GiB, then those of the module, which ends below the firmware
// and vars bytes for its variables; then the module's sections, and CPUs that
// all start in the module. Of the launch, only CPUs and CPU are looked at.
func PredictSVSM(firmware, module []byte, vars uint32, l Launch) (vm.Register, error) {
	sev, err := ovmf.ParseSEV(module)
	if err != nil {
		return vm.Register{}, fmt.Errorf("predict launch digest with SVSM: %w", err)
	}
	l.Firmware, l.Hashes, l.VMM, l.Features = Firmware{Sections: sev.Sections, ResetEIP: bootEIP}, nil, QEMU, SNPActive
	if err := l.check(); err != nil {
		return vm.Register{}, fmt.Errorf("predict launch digest with SVSM: %w", err)
	}
	top := int64(fourGiB) - int64(len(firmware))
	bottom := top - int64(vars) - int64(len(module))
	switch {
	case len(firmware) == 0 || len(firmware)%pageSize != 0 || vars%pageSize != 0 || bottom < 0:
		return vm.Register{}, fmt.Errorf("predict launch digest with SVSM: firmware of %#x bytes and variables of %#x bytes leave no whole pages for the module", len(firmware), vars)
	case !sev.SVSM:
		return vm.Register{}, fmt.Errorf("predict launch digest with SVSM: the module does not say where it starts")
	}
	var d digest
	d.contents(normalPage, uint64(top), firmware)
	d.contents(normalPage, uint64(bottom), module)
	if err := l.sections(&d); err != nil {
		return vm.Register{}, fmt.Errorf("predict launch digest with SVSM: %w", err)
	}
	boot := l.at(0)
	boot.fcw = 0 // the module's QEMU leaves it alone
	page := boot.svsm(uint64(bottom) + uint64(sev.SVSMEntry))
	for range l.CPUs {
		d.contents(vmsaPage, vmsaAddress, page)
	}
	return vm.Register(d), nil
}

// svsm is the save area of a CPU that starts in a module at rip: flat 32-bit
// protected mode.
func (s start) svsm(rip uint64) []byte {
	page := s.vmsa()
	flat := func(at int, selector, attributes uint16) {
		binary.LittleEndian.PutUint16(page[at:], selector)
		binary.LittleEndian.PutUint16(page[at+2:], attributes)
		binary.LittleEndian.PutUint32(page[at+4:], 0xffffffff) // limit
		binary.LittleEndian.PutUint64(page[at+8:], 0)          // base
	}
	flat(0x10, 8, 0xc9b)                               // CS
	for _, at := range []int{0x00, 0x20, 0x30, 0x40} { // ES, SS, DS, FS
		flat(at, 16, 0xc93)
	}
	binary.LittleEndian.PutUint64(page[0x158:], 0x11) // CR0: ET, PE
	binary.LittleEndian.PutUint64(page[0x178:], rip)
	return page
}
