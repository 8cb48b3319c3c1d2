package qemu

import (
	"fmt"
	"regexp"
	"strconv"

	"github.com/secretvm/secretvm/vm"
)

// PortOf names the PCI Express port that GPU i, counted from 0, is plugged into.
func PortOf(i int) string { return "gpu" + strconv.Itoa(i) }

// hole64 is how large QEMU says the addresses for devices above 4 GiB are, at
// least: more than eight GPUs have (256 GiB each today), so that the ACPI tables
// do not depend on which GPUs they are. OVMF has twice as much to give.
const hole64 = "q35-pcihost.pci-hole64-size=4096G"

// snpAddresses widens the addresses of an SNP machine with GPUs, for QEMU's model
// has 40 bits and OVMF gives devices the last eighth. Neither is measured there.
const snpAddresses = ",host-phys-bits=on,host-phys-bits-limit=46"

// iommufd is the back end through which QEMU asks the host's IOMMU.
const iommufd = "iommufd0"

// ports are one PCI Express port for each GPU, behind all other devices. Nothing
// is plugged in while the machine runs: the firmware reserves no room for it, and
// the tables describe no way to do it.
func ports(tee vm.TEE, gpus int) (args []string) {
	if gpus > 0 && tee != vm.SNP { // an SNP machine measures no tables, and would have its memory moved
		args = append(args, "-global", hole64)
	}
	for i := range gpus {
		args = append(args, "-device", fmt.Sprintf("pcie-root-port,id=%s,chassis=%d,hotplug=off", PortOf(i), i+1))
	}
	return args
}

var pciAddress = regexp.MustCompile(`^[0-9a-f]{4}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]$`)

// gpus are the host's devices behind the ports. Their option ROMs stay hidden:
// firmware would run and measure them.
func (m Machine) gpus() (args []string, err error) {
	if len(m.GPUs) != m.Shape.GPUs {
		return nil, fmt.Errorf("machine arguments: %d GPUs are named, the shape has %d", len(m.GPUs), m.Shape.GPUs)
	}
	if len(m.GPUs) == 0 {
		return nil, nil
	}
	args = []string{"-object", encodeObject(map[string]any{"qom-type": "iommufd", "id": iommufd})}
	seen := map[string]bool{}
	for i, address := range m.GPUs {
		if !pciAddress.MatchString(address) || seen[address] {
			return nil, fmt.Errorf("machine arguments: GPU %q, want a PCI address of its own such as 0000:17:00.0", address)
		}
		seen[address] = true
		args = append(args, "-device", fmt.Sprintf("vfio-pci,host=%s,bus=%s,rombar=0,iommufd=%s", address, PortOf(i), iommufd))
	}
	return args, nil
}
