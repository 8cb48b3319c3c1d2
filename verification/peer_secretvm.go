package verification

import (
	"fmt"
	"strings"

	"github.com/secretvm/secretvm/peer"
	"github.com/secretvm/secretvm/vm"
)

// secretVM checks a machine of the existing SecretVM images: registers against
// the caller's registry, then the compose file by what explains the registers.
type secretVM struct {
	*finding
	registry *peer.Registry
	known    []peer.TDXImage // TDX: images that agree in all but root file system and workload
	wanted   []peer.Match    // images that explain the machine with the caller's compose file
	served   []peer.Match    // the same with what the machine itself serves as one
	compose  vm.Hash         // of the served file that explains it
}

func newSecretVMSystem(f *finding) *secretVM {
	s := &secretVM{finding: f, registry: f.want.Registry}
	if s.registry == nil {
		s.registry = &peer.Registry{}
	}
	s.known = s.registry.Known(f.verdict.Measurement)
	var said peer.Served
	if f.answer.Served != nil {
		said = *f.answer.Served
	}
	w := peer.Workload{Files: f.want.filesHash(), AppID: said.AppID()}
	if want := f.want.composeHash(); want != nil {
		w.Compose = *want
		s.wanted = s.match(w)
	}
	for _, candidate := range said.ComposeFiles() {
		w.Compose = vm.HashOf(candidate)
		if s.served = s.match(w); s.served != nil {
			s.compose = w.Compose
			break
		}
	}
	return s
}

// match also tries event lists without an application id, which nothing serves.
func (s *secretVM) match(w peer.Workload) []peer.Match {
	if s.snp() {
		return s.registry.MatchSNP(s.verdict.SNP.Measurement, w)
	}
	matches := s.registry.MatchTDX(s.verdict.Measurement, w)
	if len(w.AppID) > 0 && len(matches) == 0 {
		w.AppID = nil
		matches = s.registry.MatchTDX(s.verdict.Measurement, w)
	}
	return matches
}

func (s *secretVM) snp() bool { return s.verdict.SNP != nil }

func (s *secretVM) name() string { return SystemSecretVM }

func (s *secretVM) checks() []Check {
	connection, fresh := s.checkBoundKey()
	out := []Check{connection, fresh, s.checkQuote(), s.platform()}
	if s.snp() {
		out = append(out, s.launchChecks()...)
	} else {
		out = append(out, s.checkFirmware(), s.checkKernel(), s.checkHardware(), s.checkSystem())
	}
	out = append(out, s.checkWorkload(), s.checkConfiguration(), s.checkBoot())
	return append(out, s.checkGPUs()...)
}

// explained returns the images that the registers prove, and whether with the
// caller's compose file.
func (s *secretVM) explained() ([]peer.Match, bool) {
	if len(s.wanted) > 0 {
		return s.wanted, true
	}
	return s.served, false
}

// unknown is a register that no image of the registry has. A miss is a miss:
// nothing is fetched and no version guessed.
func unknown(name, register string, found vm.Register, what string) Check {
	return fails(name, vm.Refuse(vm.CodeImage, "%s", what).
		On(register, found.String(), "that of an image in the registry").
		Try("a newer registry may know it; take it from whoever you trust to say what is good"))
}

func (s *secretVM) checkFirmware() Check {
	m := s.verdict.Measurement
	if s.wantsImage() {
		return s.finding.checkFirmware()
	}
	if s.want.Registry == nil {
		return fact("firmware", noRegistry, "MRTD %s", short(m.MRTD))
	}
	for _, image := range s.registry.TDX {
		if image.MRTD == m.MRTD {
			return holds("firmware", "firmware of an image in the registry", "MRTD %s", short(m.MRTD))
		}
	}
	return unknown("firmware", "MRTD", m.MRTD, "the firmware is that of no image in the registry")
}

func (s *secretVM) checkKernel() Check {
	m := s.verdict.Measurement
	if s.wantsImage() {
		return s.finding.checkKernel()
	}
	if s.want.Registry == nil {
		return fact("kernel", noRegistry, "RTMR1 %s, RTMR2 %s", short(m.RTMR[1]), short(m.RTMR[2]))
	}
	kernel := false
	for _, image := range s.registry.TDX {
		if image.MRTD != m.MRTD || image.RTMR1 != m.RTMR[1] {
			continue
		}
		kernel = true
		if image.RTMR2 == m.RTMR[2] {
			return holds("kernel", "kernel, initramfs and command line of an image in the registry", "RTMR1 %s, RTMR2 %s", short(m.RTMR[1]), short(m.RTMR[2]))
		}
	}
	if !kernel {
		return unknown("kernel", "RTMR1", m.RTMR[1], "the kernel is, with this firmware, that of no image in the registry")
	}
	return unknown("kernel", "RTMR2", m.RTMR[2], "initramfs or command line are, with this kernel, those of no image in the registry")
}

func (s *secretVM) checkHardware() Check {
	m := s.verdict.Measurement
	switch {
	case s.wantsImage():
		return s.finding.checkHardware()
	case s.want.Registry == nil:
		return fact("hardware", noRegistry, "RTMR0 %s", short(m.RTMR[0]))
	case len(s.known) == 0:
		return unknown("hardware", "RTMR0", m.RTMR[0], "the virtual hardware is, with this firmware and kernel, that of no image in the registry")
	}
	names := images(s.known)
	if matches, _ := s.explained(); len(matches) > 0 { // the workload has told them apart
		names = images(matched(matches))
	}
	return holds("hardware", "firmware, virtual hardware and kernel are those of "+names, "RTMR0 %s", short(m.RTMR[0]))
}

// checkSystem compares the root file system, which only shows together with
// the workload.
func (s *secretVM) checkSystem() Check {
	matches, _ := s.explained()
	switch {
	case s.want.Registry == nil:
		return fact("system", noRegistry, "")
	case len(matches) == 0:
		return fact("system", "not decided: nothing at hand explains what was measured at boot", "")
	}
	return s.image("system", "root file system of", matches)
}

// image names the matched images, and refuses those whose makers can log in.
// Where a production and a development image look the same, it may be either.
func (s *secretVM) image(name, what string, matches []peer.Match) Check {
	all := images(matched(matches))
	for _, m := range matches {
		if m.Image.Development() {
			return fails(name, vm.Refuse(vm.CodeDebug, "the machine boots, or may boot, a development image, into which its makers can log in").
				On("image", all, "a production image").Try("deploy with a production image"))
		}
	}
	return holds(name, what+" "+all, "rootfs sha256 %s, scheme: %s", short(matches[0].Rootfs()), matches[0].Scheme)
}

// launchChecks are those of the image on SEV-SNP, where one digest covers
// firmware, kernel, command line and with it the workload.
func (s *secretVM) launchChecks() []Check {
	names := []string{"firmware", "kernel", "hardware", "system"}
	matches, _ := s.explained()
	var out []Check
	for _, name := range names {
		switch {
		case s.want.Registry == nil:
			out = append(out, fact(name, noRegistry, "launch measurement %s", short(s.verdict.SNP.Measurement)))
		case len(matches) == 0:
			out = append(out, fact(name, "not decided: one digest covers image and workload, and nothing at hand explains it", "launch measurement %s", short(s.verdict.SNP.Measurement)))
		default:
			what := map[string]string{
				"firmware": "firmware of", "kernel": "kernel, initramfs and command line of", "hardware": fmt.Sprintf("virtual hardware as predicted: %d vCPUs,", matches[0].CPUs),
				"system": "root file system of",
			}[name]
			out = append(out, s.image(name, what, matches))
		}
	}
	return out
}

func (s *secretVM) missing() (flags []string) {
	if s.want.Registry == nil {
		flags = append(flags, "--registry")
	}
	if s.want.composeHash() == nil {
		flags = append(flags, "--compose")
	}
	return flags
}

func (s *secretVM) warnings() []string {
	var out []string
	if s.verdict.SNP != nil {
		family, image := strings.TrimRight(string(s.verdict.SNP.FamilyID[:]), "#\x00"), strings.TrimRight(string(s.verdict.SNP.ImageID[:]), "#\x00")
		if family != "" && len(s.wanted)+len(s.served) == 0 {
			out = append(out, fmt.Sprintf("the host calls this machine %q %q, which proves nothing", family, image))
		}
	}
	return out
}
