package snp

import (
	"fmt"
	"strings"
)

// models lists family, model and stepping of QEMU's EPYC models, of all
// versions ("-v4"), as in builtin_x86_defs of target/i386/cpu.c.
var models = map[string][3]uint32{
	"EPYC":       {23, 1, 2},
	"EPYC-IBPB":  {23, 1, 2},
	"EPYC-Rome":  {23, 49, 0},
	"EPYC-Milan": {25, 1, 1},
	"EPYC-Genoa": {25, 17, 0},
	"EPYC-Turin": {26, 0, 0},
}

// Signature returns the CPU signature of a model of QEMU's (-cpu), such as
// EPYC-v4 or EPYC-Milan. It is the model's, not that of the chip below it.
func Signature(model string) (uint32, error) {
	name, version, versioned := strings.Cut(model, "-v")
	m, ok := models[name]
	if !ok || versioned && (version == "" || strings.Trim(version, "0123456789") != "") {
		return 0, fmt.Errorf("CPU model %.40q is unknown, want EPYC, EPYC-Rome, EPYC-Milan, EPYC-Genoa or EPYC-Turin, with or without a version such as -v4", model)
	}
	return SignatureOf(m[0], m[1], m[2]), nil
}

// SignatureOf returns CPUID function 1, EAX for family, model and stepping
// (AMD publication 25481).
func SignatureOf(family, model, stepping uint32) uint32 {
	low, extended := family, uint32(0)
	if family > 15 {
		low, extended = 15, (family-15)&0xff
	}
	return extended<<20 | model>>4&0xf<<16 | low<<8 | model&0xf<<4 | stepping&0xf
}
