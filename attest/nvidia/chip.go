package nvidia

import (
	"crypto/x509"
	"strings"

	"github.com/secretvm/secretvm/vm"
)

// Kinds of devices.
const (
	KindGPU    = "gpu"
	KindSwitch = "switch"
)

// family is a generation of chips, by how its name begins.
type family struct {
	prefix, architecture, kind string
	driverID, firmwareID       string // how the ids of its reference documents begin; a driver's goes on with the chip
}

// families are the chips that can attest. Below the same root NVIDIA also
// certifies network cards and others, which must not pass for GPUs. The ids
// are those of NVIDIA's attestation SDK.
var families = []family{
	{"GH", "HOPPER", KindGPU, "NV_GPU_DRIVER_", "NV_GPU_VBIOS_"},
	{"GB", "BLACKWELL", KindGPU, "NV_GPU_CC_DRIVER_", "NV_GPU_VBIOS_"},
	{"LS", "LS10", KindSwitch, "", "NV_SWITCH_BIOS_5612_0002_890_"},
}

// chipOf returns the chip that a device's certificates name, and its family.
// Both the attestation key's certificate ("GH100 A01 GSP FMC LF") and that of
// the boot ROM which issued it ("GH100 A01 GSP BROM") must begin with it.
func chipOf(certs []*x509.Certificate) (string, family, error) {
	chip, _, _ := strings.Cut(certs[0].Subject.CommonName, " ")
	issuer, _, _ := strings.Cut(certs[1].Subject.CommonName, " ")
	for _, f := range families {
		if len(chip) >= 4 && len(chip) <= 8 && strings.HasPrefix(chip, f.prefix) && chip == issuer {
			return chip, f, nil
		}
	}
	return "", family{}, vm.Refuse(vm.CodeGPU, "the certificate chain is not that of a GPU or switch which can attest").
		On("device", short(certs[0].Subject.CommonName)+" issued by "+short(certs[1].Subject.CommonName), "a chip of Hopper, Blackwell or LS10").
		Try("a newer generation needs a newer verifier")
}

// Architectures returns the names that policies may list.
func Architectures() []string {
	var names []string
	for _, f := range families {
		names = append(names, f.architecture)
	}
	return names
}

func short(s string) string { return s[:min(len(s), 40)] }
