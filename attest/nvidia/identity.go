package nvidia

import (
	"strings"

	"github.com/secretvm/secretvm/attest/nvidia/spdm"
)

// identity is what a device says it is and runs, under its signature.
type identity struct {
	family
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
		{id.driverID + id.driver, id.driver},
		{id.firmwareID + id.sku + "_" + version, id.firmware},
	}
}
