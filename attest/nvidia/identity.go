package nvidia

import (
	"strings"

	"github.com/secretvm/secretvm/attest/nvidia/spdm"
	"github.com/secretvm/secretvm/vm"
)

// identity is what a device says it is and runs, under its signature.
type identity struct {
	family
	product          string // whose reference documents it needs: its chip
	chip, sku        string
	driver, firmware string // versions
}

func identify(chip string, f family, o spdm.Opaque) (id identity, err error) {
	id = identity{family: f, chip: chip}
	if f.kind == KindSwitch {
		// A switch names its SKU nowhere; there is one. Its firmware does all.
		id.firmware, err = o.Text(spdm.FieldVBIOS)
		return id, err
	}
	id.product = chip
	if _, named := o.Get(spdm.FieldChip); named {
		if id.product, err = o.Text(spdm.FieldChip); err != nil {
			return id, err
		}
		if !strings.HasPrefix(id.product, f.prefix) {
			return id, vm.Refuse(vm.CodeGPU, "the report is of another generation of chips than the device's certificate").On("chip", id.product, chip)
		}
	}
	if id.driver, err = o.Text(spdm.FieldDriver); err != nil {
		return id, err
	}
	if id.firmware, err = o.VBIOS(); err != nil {
		return id, err
	}
	var parts []string
	for _, field := range []spdm.Field{spdm.FieldProject, spdm.FieldProjectSKU, spdm.FieldChipSKU} {
		part, err := o.Text(field)
		if err != nil {
			return id, err
		}
		parts = append(parts, part)
	}
	id.sku = strings.Join(parts, "_")
	return id, nil
}

// reference names one of the documents that a device's measurements are
// compared with.
type reference struct {
	id, version string
}

// references returns them: a GPU has one for its driver and one for its
// firmware, a switch only the latter.
func (id identity) references() []reference {
	version := strings.ToUpper(strings.ReplaceAll(id.firmware, ".", ""))
	if id.kind == KindSwitch {
		return []reference{{id.firmwareID + version, id.firmware}}
	}
	return []reference{
		{id.driverID + id.product + "_" + id.driver, id.driver},
		{id.firmwareID + id.sku + "_" + version, id.firmware},
	}
}
