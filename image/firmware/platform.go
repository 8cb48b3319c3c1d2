package firmware

import (
	"embed"
	"fmt"

	"github.com/secretvm/secretvm/image/foundry"
	"github.com/secretvm/secretvm/vm"
)

// Variable names the environment variable that gives a prebuilt image, for
// machines that cannot build one.
const Variable = "SECRETVM_FIRMWARE"

// Platform is one firmware image that this package makes.
type Platform struct {
	foundry.Product
	TEE  vm.TEE // TDX (for the soft TEE too) or SNP
	name string // of its .dsc and .fdf below platform/
}

// The platforms' descriptions, our patches to edk2 and the build script: with
// the lock all that a build depends on.
//
//go:embed platform/*.dsc platform/*.fdf patches/*.patch build.sh
var inputs embed.FS

//go:embed SHA256SUMS
var sums string

// For returns the platform for a TEE, vm.TDX or vm.SNP. The soft TEE has that of
// TDX: what is tested is the file that ships.
func For(tee vm.TEE) (p Platform, err error) {
	switch tee {
	case vm.TDX, vm.Soft:
		p.TEE, p.name = vm.TDX, "Tdx"
	case vm.SNP:
		p.TEE, p.name = vm.SNP, "Snp"
	default:
		return p, fmt.Errorf("no firmware for the TEE %q; there is one for %s and one for %s", tee, vm.TDX, vm.SNP)
	}
	p.Product = foundry.Product{
		Kind: "firmware", File: "secretvm-" + string(p.TEE) + ".fd", Home: "image/firmware",
		Command: "secretvm image firmware build --tee " + string(p.TEE), Flag: "--firmware", Variable: Variable,
	}
	p.SHA256, err = foundry.Sum(sums, p.File)
	return p, err
}
