package verification

import (
	"github.com/secretvm/secretvm/vm"
)

// A dstack machine may describe the OS image that it booted. The description
// is chained to the image's name, so that it is enough to know the name: the
// wish for a root hash is a wish for it.

// named reports whether the caller wants the image that the machine describes.
func (d *dstackSystem) named() bool {
	want := d.want.Wishes.RootHash
	return want != nil && d.image != nil && *want == d.image.Hash
}

// described is the check of a part of the launch by the image's description.
func (d *dstackSystem) described(name, what string, fits bool, register string, found vm.Register) Check {
	switch {
	case d.broken != nil:
		return fails(name, d.broken)
	case !fits:
		return fails(name, vm.Refuse(vm.CodeImage, "the machine did not boot the %s of the OS image that it names", what).
			On(register, found.String(), "that of os_image_hash "+d.image.Hash.String()).Try("do not trust it: it says two things about itself"))
	case d.named():
		return holds(name, what+" of the OS image "+d.owned("that you named", "that the bundle names"), "%s %s", register, short(found))
	case d.want.Wishes.RootHash != nil && d.want.Wishes.RootHash.String() != d.facts.OSImage: // it may also be the event's
		return fails(name, vm.Refuse(vm.CodeImage, "the OS image is not the wanted one").
			On("os_image_hash", d.image.Hash.String(), d.want.Wishes.RootHash.String()))
	}
	return fact(name, what+" of the OS image that the machine names; not compared: a policy can name it (image.root_hash)", "os_image_hash %s", d.image.Hash)
}

func (d *dstackSystem) checkFirmware() Check {
	if m := d.verdict.Measurement; !d.wantsImage() && (d.image != nil || d.broken != nil) {
		return d.described("firmware", "firmware", d.image != nil && d.image.Firmware(m), "MRTD", m.MRTD)
	}
	return d.finding.checkFirmware()
}

func (d *dstackSystem) checkKernel() Check {
	if m := d.verdict.Measurement; !d.wantsImage() && (d.image != nil || d.broken != nil) {
		return d.described("kernel", "kernel, initramfs and command line", d.image != nil && d.image.Kernel(m), "RTMR2", m.RTMR[2])
	}
	return d.finding.checkKernel()
}

// checkHardware: descriptions do not cover what the host chooses at each
// launch, the ACPI tables among them, which are code that the guest runs.
func (d *dstackSystem) checkHardware() Check {
	if !d.wantsImage() {
		return fact("hardware", "not compared: descriptions leave out ACPI tables and sizes; a policy can name registers", "RTMR0 %s", short(d.verdict.Measurement.RTMR[0]))
	}
	return d.finding.checkHardware()
}

func (d *dstackSystem) checkLaunch() Check {
	if digest := d.verdict.SNP.Measurement; len(d.want.Wishes.Launch) == 0 && (d.image != nil || d.broken != nil) {
		return d.described("launch", "firmware, kernel, initramfs and command line", d.image != nil && d.image.Launched(digest), "MEASUREMENT", digest)
	}
	return d.finding.checkLaunch()
}

// checkSystem compares the digest by which dstack names its OS images: the
// description's, or that of the event of machines that describe nothing.
func (d *dstackSystem) checkSystem() Check {
	want := d.want.Wishes.RootHash
	switch {
	case d.broken != nil:
		return fails("system", d.broken)
	case d.named() && d.image.Kernel(d.verdict.Measurement):
		return holds("system", "root file system of the OS image "+d.owned("that you named", "that the bundle names"), "os_image_hash %s", short(d.image.Hash))
	case d.refused != nil:
		return fact("system", "not decided: the event log is not accepted", "")
	case d.facts.OSImage == "":
		return fact("system", "not measured by itself: RTMR2 holds its digest on the command line", "")
	case want == nil:
		return fact("system", "not compared: a policy can name the image's digest (image.root_hash)", "os-image-hash %s", d.facts.OSImage)
	case want.String() != d.facts.OSImage:
		return fails("system", vm.Refuse(vm.CodeImage, "the OS image is not the wanted one").On("os-image-hash", d.facts.OSImage, want.String()))
	}
	return holds("system", "the wanted OS image", "os-image-hash %s", short(*want))
}
