package verification

import (
	"github.com/secretvm/secretvm/vm"
)

// checkWorkload says whether the compose file is the measured one.
func (s *secretVM) checkWorkload() Check {
	want := s.want.composeHash()
	registers, found := "RTMR3", s.verdict.Measurement.RTMR[vm.RuntimeRegister]
	if s.snp() {
		registers, found = "launch measurement", s.verdict.SNP.Measurement
	}
	const files = "every byte counts; a machine with files beside its compose file needs --files too"
	switch {
	case s.want.Registry == nil:
		return fact("workload", "not compared: without a known image the register cannot be explained: pass --registry", "%s %s", registers, short(found))
	case len(s.wanted) > 0 && want != nil:
		what := "compose file is byte for byte " + s.owned("yours", "the bundle's")
		if s.want.filesHash() != nil {
			what = "compose file and files are byte for byte " + s.owned("yours", "the bundle's")
		}
		return holds("workload", what, "sha256 %s", short(*want))
	case want != nil && len(s.served) > 0:
		return fails("workload", vm.Refuse(vm.CodeCompose, "the machine runs another compose file than %s", s.owned("yours", "the bundle's")).
			On("compose file", s.compose.String(), want.String()).Try(files))
	case want != nil && !s.snp() && len(s.known) == 0:
		return fact("workload", "not decided: the image is not known", "%s %s", registers, short(found))
	case want != nil:
		return fails("workload", vm.Refuse(vm.CodeCompose, "no image of the registry with %s compose file explains what was measured", s.owned("your", "the bundle's")).
			On(registers, found.String(), "an image of the registry with compose file "+want.String()).Try(files))
	case len(s.served) > 0:
		return fact("workload", "the compose file that the machine serves is the measured one; not compared: pass --compose", "sha256 %s", s.compose)
	}
	return fact("workload", "not compared: pass your compose file with --compose, and --files where there are some", "%s %s", registers, short(found))
}

// checkConfiguration: nothing of it is measured in this system.
func (s *secretVM) checkConfiguration() Check {
	if s.want.Service != "" || s.want.GroupKey != "" {
		return fails("configuration", vm.Refuse(vm.CodeConfig, "this system does not measure to which service or key manager a machine belongs").
			On("configuration", "not measured", "the service and key manager that you named").Try("leave --service and --kms out, or deploy with this system's images"))
	}
	return fact("configuration", "not measured by this system: key manager, service and access policy are the host's word", "")
}

func (s *secretVM) checkBoot() Check {
	if s.snp() {
		return fact("boot", "this platform has no register for what happens after launch", "")
	}
	rtmr3 := s.verdict.Measurement.RTMR[vm.RuntimeRegister]
	if rtmr3.IsZero() {
		return fails("boot", vm.Refuse(vm.CodeEvents, "the machine measured no workload at boot, and left the register open to whoever extends it later").
			On("RTMR3", "zero", "compose file and root file system").Try("do not trust it: its boot went wrong"))
	}
	if matches, _ := s.explained(); len(matches) > 0 {
		return holds("boot", "the register holds workload and root file system, and nothing more", "RTMR3 %s", short(rtmr3))
	}
	return fact("boot", "not decided: nothing at hand explains what was measured at boot", "RTMR3 %s", short(rtmr3))
}
