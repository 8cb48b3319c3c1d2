package nvidia

import (
	"bytes"
	"encoding/hex"
	"slices"

	"github.com/secretvm/secretvm/attest/nvidia/spdm"
	"github.com/secretvm/secretvm/vm"
)

// pdiSize is the size of a device's id on the NVLink fabric, in bytes.
const pdiSize = 8

// protected reports whether a GPU is in protected PCIe mode: its memory is
// guarded, yet what it sends to other GPUs crosses the switches in the clear.
func protected(d Device) bool {
	mode, _ := d.Report.Opaque.Get(spdm.FieldProtectedPCIe)
	return d.Facts.Kind == KindGPU && bytes.Equal(mode, []byte{spdm.ProtectedPCIeOn})
}

// checkLinks refuses GPUs in protected PCIe mode that are linked with a switch
// whose own evidence is not here: a GPU names the switch at the other end of
// each of its links.
func checkLinks(devices []Device) error {
	var switches [][]byte
	for _, d := range devices {
		if id, ok := d.Report.Opaque.Get(spdm.FieldPDI); ok && d.Facts.Kind == KindSwitch && len(id) == pdiSize {
			switches = append(switches, id)
		}
	}
	for i, d := range devices {
		if !protected(d) {
			continue
		}
		links, _ := d.Report.Opaque.Get(spdm.FieldPDI)
		if len(links) == 0 || len(links)%pdiSize != 0 {
			return vm.Refuse(vm.CodeMalformed, "device %d: the GPU names its switches in %d bytes, want some times %d", i, len(links), pdiSize)
		}
		for id := range slices.Chunk(links, pdiSize) {
			// GPUs write the id in the other byte order than the switch itself.
			id = slices.Clone(id)
			slices.Reverse(id)
			if !slices.ContainsFunc(switches, func(s []byte) bool { return bytes.Equal(s, id) }) {
				return vm.Refuse(vm.CodeGPU, "device %d: the GPU is in protected PCIe mode and linked with a switch that did not prove itself", i).
					On("switch", hex.EncodeToString(id), "one of those in the evidence").
					Try("add the evidence of all NVSwitches; in this mode GPUs talk to one another through them in the clear")
			}
		}
	}
	return nil
}
