package firmware

import (
	"embed"
	"fmt"
	"strings"

	"github.com/secretvm/secretvm/vm"
)

// Platform is one firmware image that this package makes.
type Platform struct {
	TEE    vm.TEE  // TDX (for the soft TEE too) or SNP
	name   string  // of its .dsc and .fdf below platform/
	SHA256 vm.Hash // what a build must yield, from SHA256SUMS
}

// File is the name that the image goes by: secretvm-tdx.fd or secretvm-snp.fd.
func (p Platform) File() string { return "secretvm-" + string(p.TEE) + ".fd" }

// The platforms' descriptions, our patches to edk2 and the build script: with
// the lock all that a build depends on.
//
//go:embed platform/*.dsc platform/*.fdf patches/*.patch build.sh
var inputs embed.FS

//go:embed SHA256SUMS
var sums string

// For returns the platform for a TEE, vm.TDX or vm.SNP. The soft TEE has that of
// TDX: what is tested is the file that ships.
func For(tee vm.TEE) (Platform, error) {
	p := Platform{TEE: tee}
	switch tee {
	case vm.TDX, vm.Soft:
		p.TEE, p.name = vm.TDX, "Tdx"
	case vm.SNP:
		p.name = "Snp"
	default:
		return p, fmt.Errorf("no firmware for the TEE %q; there is one for %s and one for %s", tee, vm.TDX, vm.SNP)
	}
	for line := range strings.Lines(sums) {
		fields := strings.Fields(line)
		if len(fields) == 2 && fields[1] == p.File() {
			var err error
			p.SHA256, err = vm.ParseHash(fields[0])
			return p, err
		}
	}
	return p, fmt.Errorf("SHA256SUMS has no line for %s", p.File())
}

// Check refuses an image that is not, byte for byte, the one of this repository.
func (p Platform) Check(image []byte) error {
	if got := vm.HashOf(image); got != p.SHA256 {
		return fmt.Errorf("%s has SHA-256 %s, this release's is %s", p.File(), got, p.SHA256)
	}
	return nil
}
