package snp

import (
	"fmt"

	"github.com/secretvm/secretvm/vm"
)

// TCB is a TCB_VERSION: the security version of each part of the firmware.
type TCB struct {
	FMC        uint8 `json:"fmc,omitempty"` // of Turin and later only
	Bootloader uint8 `json:"bootloader"`
	TEE        uint8 `json:"tee"`
	SNP        uint8 `json:"snp"`
	Microcode  uint8 `json:"microcode"`
}

// Line is a product line: a family of chips below one root of AMD's.
type Line string

// The product lines. Genoa includes Bergamo and Siena.
const (
	Milan Line = "Milan"
	Genoa Line = "Genoa"
	Turin Line = "Turin"
)

// TCB reads a packed TCB_VERSION of this product line. Milan and Genoa have
// boot loader, TEE, four reserved bytes, SNP and microcode, from the lowest
// byte up; Turin has FMC, boot loader, TEE, SNP, three reserved bytes and
// microcode.
func (l Line) TCB(field string, packed uint64) (TCB, error) {
	b := func(i int) uint8 { return uint8(packed >> (8 * i)) }
	tcb, reserved := TCB{Bootloader: b(0), TEE: b(1), SNP: b(6), Microcode: b(7)}, packed&0x0000ffffffff0000
	if l == Turin {
		tcb, reserved = TCB{FMC: b(0), Bootloader: b(1), TEE: b(2), SNP: b(3), Microcode: b(7)}, packed&0x00ffffff00000000
	}
	if reserved != 0 {
		return TCB{}, vm.Refuse(vm.CodeMalformed, "reserved bytes of a TCB version are not zero").On(field, fmt.Sprintf("%#016x", packed), "the layout of "+string(l))
	}
	return tcb, nil
}

// Pack is the opposite of Line.TCB.
func (l Line) Pack(t TCB) uint64 {
	if l == Turin {
		return uint64(t.FMC) | uint64(t.Bootloader)<<8 | uint64(t.TEE)<<16 | uint64(t.SNP)<<24 | uint64(t.Microcode)<<56
	}
	return uint64(t.Bootloader) | uint64(t.TEE)<<8 | uint64(t.SNP)<<48 | uint64(t.Microcode)<<56
}

// AtLeast reports whether no part of t is older than in floor.
func (t TCB) AtLeast(floor TCB) bool {
	return t.FMC >= floor.FMC && t.Bootloader >= floor.Bootloader && t.TEE >= floor.TEE && t.SNP >= floor.SNP && t.Microcode >= floor.Microcode
}

// Short names the parts that are older than in floor, with both values.
func (t TCB) Short(floor TCB) []string {
	var short []string
	for _, part := range []struct {
		name      string
		has, want uint8
	}{
		{"FMC", t.FMC, floor.FMC},
		{"boot loader", t.Bootloader, floor.Bootloader},
		{"TEE", t.TEE, floor.TEE},
		{"SNP firmware", t.SNP, floor.SNP},
		{"microcode", t.Microcode, floor.Microcode},
	} {
		if part.has < part.want {
			short = append(short, fmt.Sprintf("%s has %d, wants %d", part.name, part.has, part.want))
		}
	}
	return short
}

// Min returns the older of both in each part.
func (t TCB) Min(other TCB) TCB {
	return TCB{
		FMC: min(t.FMC, other.FMC), Bootloader: min(t.Bootloader, other.Bootloader), TEE: min(t.TEE, other.TEE),
		SNP: min(t.SNP, other.SNP), Microcode: min(t.Microcode, other.Microcode),
	}
}

func (t TCB) String() string {
	s := fmt.Sprintf("boot loader %d, TEE %d, SNP %d, microcode %d", t.Bootloader, t.TEE, t.SNP, t.Microcode)
	if t.FMC != 0 {
		s = fmt.Sprintf("FMC %d, ", t.FMC) + s
	}
	return s
}
