package attest

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/secretvm/secretvm/attest/snp"
	"github.com/secretvm/secretvm/vm"
)

func contains[T comparable](list []T, value T) bool { return slices.Contains(list, value) }

// checkGuest refuses machines that their host can look into or move, and those
// that are not what the policy asks for.
func checkGuest(r *snp.Report, p *SNPPolicy) error {
	if err := checkBits(r, p); err != nil {
		return err
	}
	if err := checkLevel(r, p); err != nil {
		return err
	}
	if err := checkKeys(r, p); err != nil {
		return err
	}
	if len(p.HostData) > 0 && !contains(p.HostData, r.HostData) {
		return vm.Refuse(vm.CodeConfig, "the machine was launched with other host data than the policy names").
			On("HOST_DATA", hexOf(r.HostData[:]), oneOf(len(p.HostData), hexOf(p.HostData[0][:])))
	}
	return nil
}

// noAgent is the report id of a migration agent that is not there.
var noAgent = [32]byte(bytes.Repeat([]byte{0xff}, 32))

// checkBits looks at the guest policy and the platform information.
func checkBits(r *snp.Report, p *SNPPolicy) error {
	found := fmt.Sprintf("%#x (%s)", uint64(r.Policy), r.Policy)
	refuse := func(reason, wanted string) *vm.Refusal {
		return vm.Refuse(vm.CodeAttributes, "%s", reason).On("POLICY", found, wanted)
	}
	forbidden := (snp.PolicyMigrationAgent | snp.PolicyCXL) &^ p.Allow
	if p.NoSMT {
		forbidden |= snp.PolicySMT
	}
	switch {
	case r.Policy&snp.PolicyDebug != 0:
		return vm.Refuse(vm.CodeDebug, "the machine is under debug: its host can read and change it").On("POLICY", found, "bit 19 clear").
			Try("launch the machine without the debug bit; no policy accepts it")
	case r.Policy&forbidden != 0:
		return refuse("the machine was launched with a policy that gives its host too much", "none of "+forbidden.String()).
			Try("launch the machine with a stricter guest policy")
	case r.Policy&p.Require != p.Require:
		return refuse("the machine was launched with a policy that protects it too little", p.Require.String()).
			Try("launch the machine with a stricter guest policy")
	case r.Policy.ABI().Before(snp.Version{Major: p.ABI.Major, Minor: p.ABI.Minor}):
		return refuse("the machine accepts older firmware than the policy wants", fmt.Sprintf("at least ABI %d.%d", p.ABI.Major, p.ABI.Minor))
	case r.Policy&snp.PolicyMigrationAgent == 0 && r.MigrationID != noAgent:
		return vm.Refuse(vm.CodeAttributes, "a migration agent is bound to a machine that does not allow one").On("REPORT_ID_MA", hexOf(r.MigrationID[:]), "all ones")
	case r.Platform&p.RequirePlatform != p.RequirePlatform:
		return vm.Refuse(vm.CodeAttributes, "the host is not configured as the policy wants").
			On("PLATFORM_INFO", fmt.Sprintf("%#x (%s)", uint64(r.Platform), r.Platform), p.RequirePlatform.String())
	}
	return nil
}

// checkLevel looks at who asked for the report, and at versions.
func checkLevel(r *snp.Report, p *SNPPolicy) error {
	switch {
	case r.VMPL == snp.HostVMPL:
		return vm.Refuse(vm.CodeAttributes, "the host asked for this report, not the machine").On("VMPL", "the host's", fmt.Sprintf("at most %d", p.VMPL))
	case r.VMPL > p.VMPL:
		return vm.Refuse(vm.CodeAttributes, "the report was asked for at a privilege level that the policy does not accept").
			On("VMPL", fmt.Sprint(r.VMPL), fmt.Sprintf("at most %d", p.VMPL)).
			Try("ask for the report at VMPL 0, or accept the level in the policy where nothing of another owner runs at it")
	case r.GuestSVN < p.GuestSVN:
		return vm.Refuse(vm.CodePolicy, "the machine's image is of an older security version than the policy wants").
			On("GUEST_SVN", fmt.Sprint(r.GuestSVN), fmt.Sprintf("at least %d", p.GuestSVN))
	case r.Committed.Before(p.Firmware):
		return vm.Refuse(vm.CodePolicy, "the host can go back to older firmware than the policy wants").
			On("COMMITTED version", r.Committed.String(), "at least "+p.Firmware.String()).Try("the host must load newer SEV firmware and commit to it (SNP_COMMIT)")
	}
	return nil
}

// checkKeys looks at who signed the ID block.
func checkKeys(r *snp.Report, p *SNPPolicy) error {
	if len(p.IDKeys) == 0 && len(p.AuthorKeys) == 0 {
		return nil
	}
	if contains(p.IDKeys, r.IDKey) || contains(p.AuthorKeys, r.AuthorKey) {
		return nil
	}
	refusal := vm.Refuse(vm.CodePolicy, "the machine's ID block was signed by nobody whom the policy names")
	if len(p.IDKeys) == 0 {
		return refusal.On("AUTHOR_KEY_DIGEST", r.AuthorKey.String(), oneOf(len(p.AuthorKeys), p.AuthorKeys[0].String()))
	}
	return refusal.On("ID_KEY_DIGEST", r.IDKey.String(), oneOf(len(p.IDKeys), p.IDKeys[0].String()))
}

// oneOf words what was wanted where several values are.
func oneOf(n int, first string) string {
	if n == 1 {
		return first
	}
	return fmt.Sprintf("one of %d", n)
}
