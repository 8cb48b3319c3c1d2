package policy

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/secretvm/secretvm/attest"
	"github.com/secretvm/secretvm/attest/snp"
	"github.com/secretvm/secretvm/vm"
)

// SNP is what SEV-SNP machines must be, beyond genuine.
type SNP struct {
	Products        []string      `yaml:"products" doc:"accepted processors; without it any that is known" enum:"Milan,Milan-X,Genoa,Genoa-X,Bergamo/Siena,Turin"`
	MinimumTCB      []SNPTCB      `yaml:"minimum_tcb" doc:"the least firmware of a product; without it what secretvm knows to be current"`
	VMPL            int           `yaml:"vmpl" doc:"highest privilege level number that may ask for reports; existing SecretVM machines ask at 1"`
	GuestSVN        int           `yaml:"guest_svn" doc:"least security version in the ID block"`
	ABI             version       `yaml:"abi" doc:"least firmware ABI that the machine's own policy must insist on"`
	Firmware        version       `yaml:"firmware" doc:"least firmware version that the host has committed to"`
	Allow           []string      `yaml:"allow" doc:"bits of the guest policy that give the host more, and are accepted" enum:"MIGRATE_MA,CXL_ALLOW"`
	Require         []string      `yaml:"require" doc:"bits of the guest policy that must be set" enum:"SINGLE_SOCKET,MEM_AES_256_XTS,RAPL_DIS,CIPHERTEXT_HIDING_DRAM,PAGE_SWAP_DISABLE"`
	RequirePlatform []string      `yaml:"require_platform" doc:"bits of the platform information that must be set" enum:"TSME_EN,ECC_EN,RAPL_DIS,CIPHERTEXT_HIDING_DRAM_EN,ALIAS_CHECK_COMPLETE"`
	NoSMT           bool          `yaml:"no_smt" doc:"refuse machines that may share a core with another thread"`
	IDKeys          []vm.Register `yaml:"id_keys" doc:"digests of keys that may have signed the ID block"`
	AuthorKeys      []vm.Register `yaml:"author_keys" doc:"digests of keys that may have signed the ID key"`
	Providers       []string      `yaml:"providers" doc:"cloud providers whose VLEK is accepted, as in the certificate"`
	WithoutCRL      bool          `yaml:"without_crl" doc:"accept evidence without AMD's revocation list"`
	MaskedChipID    bool          `yaml:"masked_chip_id" doc:"accept reports whose host masks the chip id"`
}

// SNPTCB is the least firmware of one product.
type SNPTCB struct {
	Product    string `yaml:"product" doc:"which" enum:"Milan,Milan-X,Genoa,Genoa-X,Bergamo/Siena,Turin" required:"true"`
	FMC        int    `yaml:"fmc" doc:"of Turin only"`
	Bootloader int    `yaml:"bootloader" doc:"boot loader"`
	TEE        int    `yaml:"tee" doc:"trusted execution environment"`
	SNP        int    `yaml:"snp" doc:"SNP firmware"`
	Microcode  int    `yaml:"microcode" doc:"microcode"`
}

// version is a firmware version, in YAML 1.55 or 1.55.39.
type version snp.Version

// UnmarshalText reads two or three numbers.
func (v *version) UnmarshalText(text []byte) error {
	parts := strings.Split(string(text), ".")
	var numbers [3]uint8
	for i, part := range parts {
		n, err := strconv.ParseUint(part, 10, 8)
		if err != nil || len(parts) < 2 || len(parts) > len(numbers) {
			return fmt.Errorf("%.64q is no version such as 1.55 or 1.55.39", text)
		}
		numbers[i] = uint8(n)
	}
	*v = version{Major: numbers[0], Minor: numbers[1], Build: numbers[2]}
	return nil
}

var guestBits = map[string]snp.GuestPolicy{
	"MIGRATE_MA": snp.PolicyMigrationAgent, "CXL_ALLOW": snp.PolicyCXL,
	"SINGLE_SOCKET": snp.PolicySingleSocket, "MEM_AES_256_XTS": snp.PolicyAES256XTS, "RAPL_DIS": snp.PolicyNoRAPL,
	"CIPHERTEXT_HIDING_DRAM": snp.PolicyCiphertextHiding, "PAGE_SWAP_DISABLE": snp.PolicyNoPageSwap,
}

var platformBits = map[string]snp.PlatformInfo{
	"TSME_EN": snp.PlatformTSME, "ECC_EN": snp.PlatformECC, "RAPL_DIS": snp.PlatformNoRAPL,
	"CIPHERTEXT_HIDING_DRAM_EN": snp.PlatformCiphertextHiding, "ALIAS_CHECK_COMPLETE": snp.PlatformAliasCheck,
}

func (s SNP) check() error {
	if s.VMPL > 3 {
		return fmt.Errorf("snp.vmpl is %d, want 0 to 3", s.VMPL)
	}
	for i, t := range s.MinimumTCB {
		for _, n := range []int{t.FMC, t.Bootloader, t.TEE, t.SNP, t.Microcode} {
			if n > 255 {
				return fmt.Errorf("snp.minimum_tcb[%d] has %d, want at most 255", i, n)
			}
		}
	}
	return nil
}

// policy returns the verifier's form.
func (s SNP) policy() attest.SNPPolicy {
	p := attest.SNPPolicy{
		VMPL: uint32(s.VMPL), GuestSVN: uint32(s.GuestSVN), ABI: snp.Version(s.ABI), Firmware: snp.Version(s.Firmware),
		NoSMT: s.NoSMT, IDKeys: s.IDKeys, AuthorKeys: s.AuthorKeys, Providers: s.Providers,
		WithoutCRL: s.WithoutCRL, MaskedChipID: s.MaskedChipID,
	}
	for _, name := range s.Products {
		p.Products = append(p.Products, snp.Product(name))
	}
	for _, t := range s.MinimumTCB {
		if p.MinimumTCB == nil {
			p.MinimumTCB = map[snp.Product]snp.TCB{}
		}
		p.MinimumTCB[snp.Product(t.Product)] = snp.TCB{
			FMC: uint8(t.FMC), Bootloader: uint8(t.Bootloader), TEE: uint8(t.TEE), SNP: uint8(t.SNP), Microcode: uint8(t.Microcode),
		}
	}
	for _, name := range s.Allow {
		p.Allow |= guestBits[name]
	}
	for _, name := range s.Require {
		p.Require |= guestBits[name]
	}
	for _, name := range s.RequirePlatform {
		p.RequirePlatform |= platformBits[name]
	}
	return p
}
