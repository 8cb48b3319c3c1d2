package verification

import (
	"fmt"
	"strings"

	"github.com/secretvm/secretvm/vm"
)

const noManifest = "not compared: pass the image's manifest with --manifest"

// predictions returns those of the wanted image that agree with the quote in
// the registers that agrees looks at.
func (f *finding) predictions(agrees ...func(vm.Prediction) bool) (fitting []vm.Prediction) {
	var all []vm.Prediction
	if f.want.Manifest != nil {
		all = f.want.Manifest.Predictions
	}
	for _, r := range f.want.Wishes.Registers {
		all = append(all[:len(all):len(all)], vm.Prediction{TEE: vm.TDX, MRTD: r.MRTD, RTMR0: r.RTMR0, RTMR1: r.RTMR1, RTMR2: r.RTMR2})
	}
next:
	for _, p := range all {
		if p.TEE != vm.TDX { // soft machines measure as TDX ones
			continue
		}
		for _, ok := range agrees {
			if !ok(p) {
				continue next
			}
		}
		fitting = append(fitting, p)
	}
	return fitting
}

func (f *finding) sameMRTD(p vm.Prediction) bool  { return p.MRTD == f.verdict.Measurement.MRTD }
func (f *finding) sameRTMR0(p vm.Prediction) bool { return p.RTMR0 == f.verdict.Measurement.RTMR[0] }

func (f *finding) sameRTMR1(p vm.Prediction) bool { return p.RTMR1 == f.verdict.Measurement.RTMR[1] }

func (f *finding) sameRTMR2(p vm.Prediction) bool { return p.RTMR2 == f.verdict.Measurement.RTMR[2] }

// checkFirmware compares MRTD.
func (f *finding) checkFirmware() Check {
	m := f.verdict.Measurement
	if !f.wantsImage() {
		return fact("firmware", noManifest, "MRTD %s", short(m.MRTD))
	}
	if len(f.predictions(f.sameMRTD)) > 0 {
		return holds("firmware", "firmware of "+f.release(), "MRTD %s", short(m.MRTD))
	}
	return fails("firmware", vm.Refuse(vm.CodeImage, "the firmware is not that of %s", f.release()).
		On("MRTD", m.MRTD.String(), f.values(func(p vm.Prediction) vm.Register { return p.MRTD })).
		Try("is this the manifest of the image that the machine boots?"))
}

// checkKernel compares RTMR1 (kernel) and RTMR2 (command line, initramfs).
func (f *finding) checkKernel() Check {
	m := f.verdict.Measurement
	switch {
	case !f.wantsImage():
		return fact("kernel", noManifest, "RTMR1 %s, RTMR2 %s", short(m.RTMR[1]), short(m.RTMR[2]))
	case len(f.predictions(f.sameRTMR1, f.sameRTMR2)) > 0:
		return holds("kernel", "kernel, initramfs and command line of "+f.release(), "RTMR1 %s, RTMR2 %s", short(m.RTMR[1]), short(m.RTMR[2]))
	case len(f.predictions(f.sameRTMR1)) == 0:
		return fails("kernel", vm.Refuse(vm.CodeImage, "the kernel is not that of %s", f.release()).
			On("RTMR1", m.RTMR[1].String(), f.values(func(p vm.Prediction) vm.Register { return p.RTMR1 })).
			Try("is this the manifest of the image that the machine boots?"))
	}
	return fails("kernel", vm.Refuse(vm.CodeImage, "initramfs or command line are not those of %s", f.release()).
		On("RTMR2", m.RTMR[2].String(), f.values(func(p vm.Prediction) vm.Register { return p.RTMR2 })).
		Try("is this the manifest of the image that the machine boots?"))
}

// checkHardware compares RTMR0, which depends on the machine's shape: one
// prediction must hold in all four registers at once.
func (f *finding) checkHardware() Check {
	m := f.verdict.Measurement
	if !f.wantsImage() {
		return fact("hardware", noManifest, "RTMR0 %s", short(m.RTMR[0]))
	}
	if whole := f.predictions(f.sameMRTD, f.sameRTMR0, f.sameRTMR1, f.sameRTMR2); len(whole) > 0 {
		return holds("hardware", "virtual hardware as predicted: "+shape(whole[0].Shape), "RTMR0 %s", short(m.RTMR[0]))
	}
	if len(f.predictions(f.sameRTMR0)) > 0 {
		return fails("hardware", vm.Refuse(vm.CodeImage, "the virtual hardware is known, but not with this firmware and kernel").
			On("RTMR0", m.RTMR[0].String(), "all four registers of one prediction").
			Try("see the checks above"))
	}
	var shapes []string
	for _, p := range f.predictions() {
		shapes = append(shapes, shape(p.Shape))
	}
	return fails("hardware", vm.Refuse(vm.CodeImage, "the virtual hardware is none that the manifest predicts").
		On("RTMR0", m.RTMR[0].String(), f.values(func(p vm.Prediction) vm.Register { return p.RTMR0 })).
		Try("the manifest knows "+or(several(shapes, "; ", 8), "no shape")+": ask the owner for a manifest that predicts this machine's"))
}

// checkSystem compares the dm-verity root hash, by the event that RTMR3 holds.
func (f *finding) checkSystem() Check {
	if f.wholeRegisters() {
		return holds("system", "everything measured is as the policy wants", "all registers")
	}
	want := f.want.Wishes.RootHash
	if want == nil && f.want.Manifest != nil {
		want = &f.want.Manifest.Verity.RootHash
	}
	if !f.ours() && want == nil {
		return f.unexplained("system")
	}
	root, err := f.rootHash()
	switch {
	case err != nil:
		return fails("system", err)
	case want == nil && f.wantsImage(): // registers alone: RTMR2 holds the command line, which names the root hash
		return fact("system", "not compared by itself: RTMR2 is", "os-image-hash %s", short(root))
	case want == nil:
		return fact("system", noManifest, "os-image-hash %s", short(root))
	case root != *want:
		return fails("system", vm.Refuse(vm.CodeImage, "the root file system is not that of %s", f.release()).
			On(vm.EventImage, root.String(), want.String()).
			Try("is this the manifest of the image that the machine boots?"))
	case f.want.Manifest != nil && f.forDevelopment(f.want.Manifest.Dev) != nil: // whether or not a config came along
		return fails("system", f.forDevelopment(true))
	}
	return holds("system", "root file system of "+f.release(), "os-image-hash %s", short(root))
}

func (f *finding) release() string {
	if f.want.Manifest == nil {
		return "the policy"
	}
	return or(strings.TrimSpace(f.want.Manifest.Name+" "+f.want.Manifest.Release), "the manifest")
}

// values lists the distinct predicted values of one register.
func (f *finding) values(of func(vm.Prediction) vm.Register) string {
	var out []string
	seen := map[vm.Register]bool{}
	for _, p := range f.predictions() {
		if r := of(p); !seen[r] {
			seen[r] = true
			out = append(out, r.String())
		}
	}
	return or(several(out, " or ", 3), "a prediction, and the manifest has none")
}

// several joins words and, where there are many, says how many are left out.
func several(words []string, separator string, most int) string {
	if left := len(words) - most; left > 1 {
		words = append(words[:most:most], fmt.Sprintf("one of %d more", left))
	}
	return strings.Join(words, separator)
}

func shape(s vm.Shape) string {
	if s == (vm.Shape{}) {
		return "registers that the policy names"
	}
	return fmt.Sprintf("%d vCPUs, %d MiB", s.CPUs, s.Memory>>20)
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
