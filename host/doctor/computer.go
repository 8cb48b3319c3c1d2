package doctor

import (
	"fmt"
	"slices"

	"github.com/secretvm/secretvm/vm"
)

// computer is what machines of every kind need. Soft ones run anywhere, slowly
// where the processor does not help.
var computer = []check{
	{"memory", func(f *Facts) (State, string, string) {
		found := fmt.Sprintf("%.1f of %.1f GiB free", gib(f.Free), gib(f.Total))
		switch {
		case f.Total == 0:
			return Noted, "/proc/meminfo does not say", ""
		case f.Free < 512<<20:
			return Lacking, found, "the smallest machine has 512 MiB: end something else first"
		case f.Free < vm.DefaultShape.Memory:
			return Noted, found, "less than a machine has by default: up --memory 1G"
		}
		return Fine, found, ""
	}},
	{"qemu", func(f *Facts) (State, string, string) {
		if f.QEMUError != "" {
			return Lacking, f.QEMUError, "leave --qemu out: the locked QEMU comes by itself"
		}
		if f.QEMU == "" {
			return Noted, "no emulator was looked for", ""
		}
		return Fine, f.QEMU, ""
	}},
	{"kvm", func(f *Facts) (State, string, string) {
		state, found, fix := judgeKVM(f)
		if state == Lacking { // machines are emulated then
			return Noted, found + "; soft machines are emulated", fix
		}
		return state, found, fix
	}},
}

func gib(n int64) float64 { return float64(n) / (1 << 30) }

// needKVM is the check of confidential machines, which nothing emulates.
var needKVM = check{"kvm", func(f *Facts) (State, string, string) {
	state, found, fix := judgeKVM(f)
	if state == Noted {
		state = Lacking
	}
	return state, found, fix
}}

func judgeKVM(f *Facts) (State, string, string) {
	virtualises := f.CPU.Flags["vmx"] || f.CPU.Flags["svm"]
	switch {
	case !virtualises && f.CPU.Flags["hypervisor"]:
		return Lacking, "this is a virtual machine, whose processor runs no others", "use the computer below it (bare metal), or a provider with nested virtualisation for soft machines"
	case !virtualises:
		return Lacking, "the processor runs no virtual machines", "switch on virtualisation in the BIOS (Intel VMX or VT-x, AMD SVM)"
	case f.KVM == Absent:
		return Lacking, "there is no /dev/kvm", "sudo modprobe " + kvmModule(f) + "; if that fails, switch on virtualisation in the BIOS"
	case f.KVM == Denied && slices.Contains(f.KVMGroup.Members, f.User) && !slices.Contains(f.Groups, f.KVMGroup.ID):
		return Lacking, f.User + " has become a member of the group kvm, and this session began before", "log out and in again, or run: newgrp kvm"
	case f.KVM == Denied && slices.Contains(f.Groups, f.KVMGroup.ID):
		return Lacking, "/dev/kvm is not open to the group kvm, to which " + f.User + " belongs", "sudo chgrp kvm /dev/kvm && sudo chmod 660 /dev/kvm; see that udev's rules are installed"
	case f.KVM == Denied:
		return Lacking, f.User + " may not open /dev/kvm", "sudo usermod -aG kvm " + f.User + ", and log in again"
	case f.KVM != Opened:
		return Lacking, "nothing answers behind /dev/kvm", "sudo modprobe " + kvmModule(f) + ", and look at: sudo dmesg | grep kvm"
	}
	return Fine, "/dev/kvm opens", ""
}

func kvmModule(f *Facts) string {
	if f.CPU.Vendor == "AuthenticAMD" {
		return "kvm_amd"
	}
	return "kvm_intel"
}

// bareMetal is that the processor of a section is a real one, of a model that
// has the TEE.
func bareMetal(f *Facts, has bool, older string) (State, string, string) {
	found := fmt.Sprintf("%s (family %d, model %d)", f.CPU.Name, f.CPU.Family, f.CPU.Model)
	switch {
	case f.CPU.Flags["hypervisor"]:
		return Lacking, found + ", as a hypervisor shows it", "confidential machines need the computer itself: use bare metal"
	case !has:
		return Lacking, found, older
	}
	return Fine, found, ""
}

// kernelFrom is the check of the version of Linux.
func kernelFrom(major, minor int, what string) check {
	return check{"kernel", func(f *Facts) (State, string, string) {
		switch {
		case f.Kernel == Version{}:
			return Noted, "the version of the kernel is not known", ""
		case f.Kernel.Before(major, minor):
			return Lacking, "Linux " + f.Release, fmt.Sprintf("install Linux %d.%d or later, the first with %s", major, minor, what)
		}
		return Fine, "Linux " + f.Release, ""
	}}
}

// Bits of KVM_CAP_VM_TYPES (Linux, arch/x86/include/uapi/asm/kvm.h).
const (
	typeSNP = 4
	typeTDX = 5
)

// makes reports whether KVM says that it makes machines of a kind.
func (f *Facts) makes(bit int) bool { return f.KVM == Opened && f.VMTypes&(1<<bit) != 0 }

// machines is the check of KVM's own word, which counts more than all others.
func machines(bit int, what, log string) check {
	return check{"machines", func(f *Facts) (State, string, string) {
		switch {
		case f.KVM != Opened:
			return Noted, "KVM was not asked, for /dev/kvm does not open", ""
		case !f.makes(bit):
			return Lacking, "KVM makes no machines of " + what, "mend what is missing here; then: sudo dmesg | grep -i " + log
		case !f.GuestMemfd:
			return Lacking, "KVM has no guest_memfd, the private memory of such machines", "install a kernel with CONFIG_KVM_GUEST_MEMFD (older ones: CONFIG_KVM_PRIVATE_MEM)"
		}
		return Fine, "KVM makes machines of " + what + ", with guest_memfd", ""
	}}
}

// firmware is the check of the image's firmware, where one was named.
func firmware(problem func(*Facts) string, fix string) check {
	return check{"firmware", func(f *Facts) (State, string, string) {
		switch {
		case f.Firmware == "":
			return Noted, "no image was named", "--image FOLDER looks at an image's firmware"
		case problem(f) != "":
			return Lacking, problem(f), fix
		}
		return Fine, f.Firmware, ""
	}}
}
