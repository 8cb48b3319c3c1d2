package verification

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/secretvm/secretvm/attest/snp"
	"github.com/secretvm/secretvm/vm"
)

// checksSNP is the verification of a SEV-SNP machine: all that is measured is
// in the launch digest, and HOST_DATA is what the host said at launch.
func (f *finding) checksSNP() []Check {
	connection, fresh := f.checkFreshness(f.checkReportData())
	return []Check{connection, fresh, f.checkQuote(), f.checkPlatformSNP(), f.checkLaunch(), f.checkHostData()}
}

// checkPlatformSNP reports what the policy of package attest accepted.
func (f *finding) checkPlatformSNP() Check {
	s := f.verdict.SNP
	what := "firmware " + f.verdict.TCBStatus + advisories(f.verdict.Advisories) + ", debug off"
	if s.VMPL != 0 {
		what += fmt.Sprintf(", asked at VMPL %d", s.VMPL)
	}
	return holds("platform", what, "%s, AMD-SP %s, policy %s, valid to %s", s.Product, s.Firmware,
		or(snp.GuestPolicy(s.Policy).String(), "none"), f.verdict.ValidUntil.UTC().Format(time.DateOnly))
}

// checkLaunch compares the launch digest.
func (f *finding) checkLaunch() Check {
	got := f.verdict.SNP.Measurement
	var wanted []string
	for _, want := range f.want.Wishes.Launch {
		if want == got {
			return holds("launch", "launched as the policy wants", "MEASUREMENT %s", short(got))
		}
		wanted = append(wanted, want.String())
	}
	switch {
	case len(wanted) > 0:
		return fails("launch", vm.Refuse(vm.CodeImage, "the machine was launched with something else").
			On("MEASUREMENT", got.String(), strings.Join(wanted, " or ")).
			Try("the launch digest covers firmware, kernel, initramfs, command line, and the number of CPUs: is it that of this machine's size?"))
	case f.want.Manifest != nil || len(f.want.Wishes.Registers) > 0:
		return fails("launch", vm.Refuse(vm.CodeImage, "the image that you named is one for TDX, the machine is SEV-SNP").
			On("MEASUREMENT", got.String(), "a launch digest that you know").Try("name it in a policy: image.launch"))
	}
	return fact("launch", "not compared: name the launch digest in a policy (image.launch)", "MEASUREMENT %s", short(got))
}

// checkHostData compares what the host was told to bind at launch.
func (f *finding) checkHostData() Check {
	got := f.verdict.SNP.HostData
	want := f.want.Wishes.HostData
	if c, err := vm.ParseConfig(f.answer.Config); err == nil && vm.HashOf(f.answer.Config) == got && f.forDevelopment(c.Dev) != nil {
		return fails("workload", f.forDevelopment(true))
	}
	switch {
	case want == nil && f.want.composeHash() != nil:
		return fails("workload", vm.Refuse(vm.CodeCompose, "nothing in the report says which compose file the machine runs").
			On("HOST_DATA", got.String(), "a digest that you know").
			Try("for machines of SecretVM name the registry of its images; for others workload.host_data in a policy"))
	case want == nil:
		return fact("workload", "not compared: name HOST_DATA in a policy (workload.host_data)", "HOST_DATA %s", short(got))
	case *want != got:
		return fails("workload", vm.Refuse(vm.CodeConfig, "the machine was launched for something else").On("HOST_DATA", got.String(), want.String()).
			Try("HOST_DATA is what the owner binds at launch, often the digest of a policy or configuration"))
	}
	return holds("workload", "launched for what the policy names", "HOST_DATA %s", short(got))
}

// missingSNP names what a policy must say before a SEV-SNP machine is verified.
func (f *finding) missingSNP() (fields []string) {
	if !slices.Contains(f.want.Wishes.Launch, f.verdict.SNP.Measurement) {
		fields = append(fields, "image.launch")
	}
	if f.want.Wishes.HostData == nil {
		fields = append(fields, "workload.host_data")
	}
	return fields
}

// checksSGX is the verification of an SGX enclave, which is no machine: it is
// genuine, and what it is is shown.
func (f *finding) checksSGX() []Check {
	connection, fresh := f.checkFreshness(f.checkReportData())
	e := f.verdict.SGX
	return []Check{
		connection, fresh, f.checkQuote(), f.checkPlatform(),
		fact("enclave", "an SGX enclave, not a machine: compare its measurement yourself",
			"MRENCLAVE %s, MRSIGNER %s, product %d, SVN %d", e.MREnclave, short(e.MRSigner), e.ProductID, e.SVN),
	}
}
