package attest

import (
	"slices"

	"github.com/secretvm/secretvm/attest/snp"
	"github.com/secretvm/secretvm/vm"
)

// SNPPolicy says what AMD SEV-SNP machines are good enough. Its zero value is
// the strictest that machines outside a laboratory meet: any known product
// with firmware against every known weakness, asked from VMPL 0, a current
// revocation list, no debugging, no migration, no memory on CXL devices.
// Debugging is refused whatever a policy says.
type SNPPolicy struct {
	// MinimumTCB replaces, for the products that it names, the TCB that counts
	// as UpToDate: each part must be at least that. Products that it does not
	// name keep the built-in levels (snp.Product.Levels).
	MinimumTCB map[snp.Product]snp.TCB

	// Products lists the products that are accepted. None means any that is
	// known. Reports of version 2 do not tell those of one line apart.
	Products []snp.Product

	// VMPL is the highest privilege level number whose reports are accepted:
	// software of a level asks for reports of that level and above it. Guests
	// without a module of their own at VMPL 0 ask at 0; existing SecretVM
	// machines and Amazon's ask at 1.
	VMPL uint32

	// GuestSVN is the least security version in the ID block.
	GuestSVN uint32

	// ABI is the least firmware ABI (major, minor) that the machine's own
	// policy must insist on. Firmware is the least firmware version that the
	// host has committed to.
	ABI, Firmware snp.Version

	// Allow are bits of the guest policy that give the host more than it has
	// by default: snp.PolicyMigrationAgent and snp.PolicyCXL.
	Allow snp.GuestPolicy

	// Require are bits of the guest policy that must be set, such as
	// snp.PolicySingleSocket; RequirePlatform are bits of the platform
	// information that must be set, such as snp.PlatformAliasCheck.
	Require         snp.GuestPolicy
	RequirePlatform snp.PlatformInfo

	// NoSMT refuses machines that may share a core with another thread.
	NoSMT bool

	// IDKeys and AuthorKeys list the SHA-384 digests of keys that may have
	// signed the ID block, and the ID key. With either, one of them must have.
	IDKeys, AuthorKeys []vm.Register

	// HostData lists the values of HOST_DATA that are accepted. None means any.
	HostData [][32]byte

	// Providers lists the cloud providers (CSP_ID, such as
	// "CN=cc-us-east-2.amazonaws.com") whose VLEK is accepted. None means any.
	Providers []string

	// WithoutCRL accepts evidence without AMD's revocation list; one that
	// comes along is checked all the same.
	WithoutCRL bool

	// MaskedChipID accepts reports whose host masks the chip id. The VCEK's
	// certificate still names the chip.
	MaskedChipID bool
}

// allowable bits are those that SNPPolicy.Allow may name.
const allowable = snp.PolicyMigrationAgent | snp.PolicyCXL

// requirable bits are those that SNPPolicy.Require may name: each of them
// takes something from the host.
const requirable = snp.PolicySingleSocket | snp.PolicyAES256XTS | snp.PolicyNoRAPL | snp.PolicyCiphertextHiding | snp.PolicyNoPageSwap

func (p *SNPPolicy) check() error {
	for product := range p.MinimumTCB {
		if product.Line() == "" {
			return vm.Refuse(vm.CodeInvalid, "policy names a minimum TCB for the product %.40q, which is not known", string(product))
		}
	}
	for _, product := range p.Products {
		if product.Line() == "" {
			return vm.Refuse(vm.CodeInvalid, "policy names the product %.40q, which is not known", string(product))
		}
	}
	switch {
	case p.VMPL > 3:
		return vm.Refuse(vm.CodeInvalid, "policy accepts VMPL %d, want 0 to 3", p.VMPL)
	case p.Allow&^allowable != 0:
		return vm.Refuse(vm.CodeInvalid, "policy allows guest policy bits %#x, of which %#x cannot be allowed", uint64(p.Allow), uint64(p.Allow&^allowable))
	case p.Require&^requirable != 0:
		return vm.Refuse(vm.CodeInvalid, "policy requires guest policy bits %#x, of which %#x protect nothing", uint64(p.Require), uint64(p.Require&^requirable))
	case slices.Contains(p.IDKeys, vm.Register{}) || slices.Contains(p.AuthorKeys, vm.Register{}):
		return vm.Refuse(vm.CodeInvalid, "policy accepts a key digest of zero, which is that of no key")
	}
	return nil
}
