package snp

import (
	"fmt"
	"strings"

	"github.com/secretvm/secretvm/vm"
)

// GuestPolicy is the POLICY that a machine was launched with: what its host
// may do, enforced by the firmware (56860, table "Guest Policy"). Bits 0 to 7
// and 8 to 15 are the least ABI version, minor and major.
type GuestPolicy uint64

// The bits of a guest policy.
const (
	PolicySMT              GuestPolicy = 1 << 16 // may run with another thread on its core
	policyReservedOne      GuestPolicy = 1 << 17 // always set
	PolicyMigrationAgent   GuestPolicy = 1 << 18 // may be associated with a migration agent
	PolicyDebug            GuestPolicy = 1 << 19 // the host may read and change it
	PolicySingleSocket     GuestPolicy = 1 << 20 // may run on one socket only
	PolicyCXL              GuestPolicy = 1 << 21 // its memory may be on CXL devices
	PolicyAES256XTS        GuestPolicy = 1 << 22 // its memory must be encrypted with AES-256-XTS
	PolicyNoRAPL           GuestPolicy = 1 << 23 // the power meter must be off
	PolicyCiphertextHiding GuestPolicy = 1 << 24 // the host must not see ciphertext of its memory
	PolicyNoPageSwap       GuestPolicy = 1 << 25 // the host may not move or swap its pages

	policyReserved = ^(GuestPolicy(1)<<26 - 1)
)

// ABI returns the least firmware ABI that the machine accepts.
func (p GuestPolicy) ABI() Version { return Version{Major: uint8(p >> 8), Minor: uint8(p)} }

func (p GuestPolicy) check() error {
	if p&policyReserved != 0 || p&policyReservedOne == 0 {
		return vm.Refuse(vm.CodeMalformed, "reserved bits of the guest policy are not what they must be").
			On("POLICY", fmt.Sprintf("%#x", uint64(p)), "bit 17 set, bits 26 to 63 clear")
	}
	return nil
}

// PlatformInfo is PLATFORM_INFO: how the host is configured.
type PlatformInfo uint64

// The bits of PLATFORM_INFO.
const (
	PlatformSMT              PlatformInfo = 1 << 0 // threads share cores
	PlatformTSME             PlatformInfo = 1 << 1 // all memory is encrypted
	PlatformECC              PlatformInfo = 1 << 2 // memory corrects errors
	PlatformNoRAPL           PlatformInfo = 1 << 3 // the power meter is off
	PlatformCiphertextHiding PlatformInfo = 1 << 4 // ciphertext of DRAM is hidden from the host
	PlatformAliasCheck       PlatformInfo = 1 << 5 // no memory module shows itself twice (CVE-2024-21944)
	PlatformTIO              PlatformInfo = 1 << 7 // trusted devices are possible

	platformKnown = PlatformSMT | PlatformTSME | PlatformECC | PlatformNoRAPL | PlatformCiphertextHiding | PlatformAliasCheck | PlatformTIO
)

func (p PlatformInfo) check() error {
	if p&^platformKnown != 0 {
		return vm.Refuse(vm.CodeMalformed, "reserved bits of the platform information are not zero").
			On("PLATFORM_INFO", fmt.Sprintf("%#x", uint64(p)), fmt.Sprintf("none but %#x", uint64(platformKnown)))
	}
	return nil
}

var policyNames = []struct {
	bit  GuestPolicy
	name string
}{
	{PolicySMT, "SMT"},
	{PolicyMigrationAgent, "MIGRATE_MA"},
	{PolicyDebug, "DEBUG"},
	{PolicySingleSocket, "SINGLE_SOCKET"},
	{PolicyCXL, "CXL_ALLOW"},
	{PolicyAES256XTS, "MEM_AES_256_XTS"},
	{PolicyNoRAPL, "RAPL_DIS"},
	{PolicyCiphertextHiding, "CIPHERTEXT_HIDING_DRAM"},
	{PolicyNoPageSwap, "PAGE_SWAP_DISABLE"},
}

// String names the bits that are set, in AMD's words.
func (p GuestPolicy) String() string {
	var names []string
	for _, n := range policyNames {
		if p&n.bit != 0 {
			names = append(names, n.name)
		}
	}
	return strings.Join(names, " ")
}

var platformNames = []struct {
	bit  PlatformInfo
	name string
}{
	{PlatformSMT, "SMT_EN"},
	{PlatformTSME, "TSME_EN"},
	{PlatformECC, "ECC_EN"},
	{PlatformNoRAPL, "RAPL_DIS"},
	{PlatformCiphertextHiding, "CIPHERTEXT_HIDING_DRAM_EN"},
	{PlatformAliasCheck, "ALIAS_CHECK_COMPLETE"},
	{PlatformTIO, "TIO_EN"},
}

// String names the bits that are set, in AMD's words.
func (p PlatformInfo) String() string {
	var names []string
	for _, n := range platformNames {
		if p&n.bit != 0 {
			names = append(names, n.name)
		}
	}
	return strings.Join(names, " ")
}
