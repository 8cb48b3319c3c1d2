package snp

import (
	"encoding/binary"
	"fmt"
)

// VMM is who makes the machine: hypervisors differ in the order of pages and
// in the first state of a CPU.
type VMM int

// The hypervisors whose launches are known.
const (
	QEMU   VMM = iota // KVM with QEMU, 9.1 and later
	EC2               // Amazon's
	EC2Old            // Amazon's, as of 2023
	GCE               // Google's
)

func (v VMM) String() string {
	switch v {
	case QEMU:
		return "QEMU"
	case EC2:
		return "EC2"
	case EC2Old:
		return "EC2 of 2023"
	case GCE:
		return "GCE"
	}
	return fmt.Sprintf("VMM %d", int(v))
}

// bootEIP is where the boot processor starts: the reset vector.
const bootEIP = 0xfffffff0

// firstRDX is what RDX holds after reset where the hypervisor does not put a
// CPU model's signature there.
const firstRDX = 0x600

// start is the state of one CPU at its first instruction, as far as
// hypervisors differ.
type start struct {
	eip      uint32
	cs       uint16 // attributes of segments
	ss       uint16
	tr       uint16
	rdx      uint64 // QEMU: the CPU's signature (CPUID 1, EAX)
	pat      uint64
	features uint64 // SEV_FEATURES
	mxcsr    uint32
	fcw      uint16
}

// at returns the state of a CPU that starts at eip.
func (l Launch) at(eip uint32) start {
	s := start{
		eip: eip, cs: 0x9b, ss: 0x93, tr: 0x8b, rdx: uint64(l.CPU), pat: 0x0007040600070406,
		features: l.features(), mxcsr: 0x1f80, fcw: 0x37f,
	}
	switch l.VMM {
	case EC2, EC2Old:
		s.ss, s.tr, s.rdx, s.mxcsr, s.fcw = 0x92, 0x83, firstRDX, 0, 0
		if eip == bootEIP {
			s.cs = 0x9a
		}
		if l.VMM == EC2Old {
			s.rdx = 0
		}
	case GCE:
		s.rdx, s.pat, s.mxcsr, s.fcw = firstRDX, 0x00070106, 0, 0
	}
	return s
}

// vmsa is the save area, one page (AMD64 Architecture Programmer's Manual,
// volume 2, table B-4): real mode at the reset vector, as KVM sets it up.
func (s start) vmsa() []byte {
	page := make([]byte, pageSize)
	segment := func(at int, selector, attributes uint16, base uint64) {
		binary.LittleEndian.PutUint16(page[at:], selector)
		binary.LittleEndian.PutUint16(page[at+2:], attributes)
		binary.LittleEndian.PutUint32(page[at+4:], 0xffff) // limit
		binary.LittleEndian.PutUint64(page[at+8:], base)
	}
	segment(0x00, 0, 0x93, 0)                                         // ES
	segment(0x10, 0xf000, s.cs, uint64(s.eip&0xffff0000))             // CS
	segment(0x20, 0, s.ss, 0)                                         // SS
	segment(0x30, 0, 0x93, 0)                                         // DS
	segment(0x40, 0, 0x93, 0)                                         // FS
	segment(0x50, 0, 0x93, 0)                                         // GS
	segment(0x60, 0, 0, 0)                                            // GDTR
	segment(0x70, 0, 0x82, 0)                                         // LDTR
	segment(0x80, 0, 0, 0)                                            // IDTR
	segment(0x90, 0, s.tr, 0)                                         // TR
	binary.LittleEndian.PutUint64(page[0xd0:], 0x1000)                // EFER: SVME
	binary.LittleEndian.PutUint64(page[0x148:], 0x40)                 // CR4: MCE
	binary.LittleEndian.PutUint64(page[0x158:], 0x10)                 // CR0: ET
	binary.LittleEndian.PutUint64(page[0x160:], 0x400)                // DR7
	binary.LittleEndian.PutUint64(page[0x168:], 0xffff0ff0)           // DR6
	binary.LittleEndian.PutUint64(page[0x170:], 2)                    // RFLAGS
	binary.LittleEndian.PutUint64(page[0x178:], uint64(s.eip&0xffff)) // RIP
	binary.LittleEndian.PutUint64(page[0x268:], s.pat)
	binary.LittleEndian.PutUint64(page[0x310:], s.rdx)
	binary.LittleEndian.PutUint64(page[0x3b0:], s.features)
	binary.LittleEndian.PutUint64(page[0x3e8:], 1) // XCR0: x87
	binary.LittleEndian.PutUint32(page[0x408:], s.mxcsr)
	binary.LittleEndian.PutUint16(page[0x410:], s.fcw)
	return page
}
