package doctor

import (
	"fmt"
	"strings"
)

const switchOnSNP = "in the BIOS switch on: SMEE (memory encryption), SEV control, SEV-ES ASID space limit above 1, SNP memory (RMP table) coverage, IOMMU; then boot again"

// amd is what machines on SEV-SNP need.
var amd = []check{
	{processor, func(f *Facts) (State, string, string) {
		return bareMetal(f, f.CPU.Flags["sev_snp"] || f.CPU.Family >= 0x19 && f.CPU.Flags["sev_es"] || f.CPU.Family >= 0x19 && strings.Contains(f.CPU.Name, "EPYC"),
			"SEV-SNP is in EPYC 7003 (Milan) or later")
	}},
	{"bios", func(f *Facts) (State, string, string) {
		switch {
		case f.CPU.Flags["sev_snp"] || f.makes(typeSNP):
			return Fine, "SEV-SNP is on: there is a table of memory owners (RMP)", ""
		case !f.CPU.Flags["sev"]:
			return Lacking, "memory encryption is off", switchOnSNP
		case f.Kernel.Before(6, 8):
			return Noted, "this kernel is too old to tell", switchOnSNP
		}
		return Lacking, "SEV is on, SEV-SNP is not: there is no table of memory owners (RMP)", switchOnSNP
	}},
	{"iommu", func(f *Facts) (State, string, string) {
		for _, word := range f.CommandLine {
			switch word {
			case "iommu=pt", "iommu.passthrough=1", "iommu=off", "amd_iommu=off":
				return Lacking, word + " is on the kernel's command line", "take it away and boot again: SEV-SNP needs an IOMMU that translates"
			}
		}
		return Fine, "nothing on the kernel's command line keeps it from translating", ""
	}},
	kernelFrom(6, 11, "SEV-SNP in KVM"),
	needKVM,
	{"kvm_amd", func(f *Facts) (State, string, string) {
		switch value := f.Parameters["kvm_amd.sev_snp"]; {
		case value == "Y" || value == "1":
			return Fine, "kvm_amd.sev_snp is on", ""
		case !f.loaded("kvm_amd"):
			return Lacking, "kvm_amd is not loaded", "sudo modprobe kvm_amd"
		case value == "":
			return Lacking, "this kvm_amd has no switch for SEV-SNP", "install a kernel built with CONFIG_KVM_AMD_SEV"
		case !f.CPU.Flags["sev_snp"]:
			return Lacking, "kvm_amd.sev_snp is off, for the processor's is", "mend the BIOS first"
		}
		return Lacking, "kvm_amd.sev_snp is off", "take kvm_amd.sev_snp=0 and the like away from the kernel's command line and /etc/modprobe.d, and look at: sudo dmesg | grep -i sev"
	}},
	machines(typeSNP, "SEV-SNP", "sev"),
	{"/dev/sev", func(f *Facts) (State, string, string) {
		switch f.SEV {
		case Opened:
			return Fine, "/dev/sev opens", ""
		case Denied:
			return Lacking, f.User + " may not open /dev/sev",
				`echo 'KERNEL=="sev", GROUP="kvm", MODE="0660"' | sudo tee /etc/udev/rules.d/90-sev.rules && sudo udevadm trigger /dev/sev`
		}
		return Lacking, "AMD's secure processor does not answer at /dev/sev", "sudo modprobe ccp; sudo dmesg | grep ccp"
	}},
	{"encryption", func(f *Facts) (State, string, string) {
		if f.Encryption.CBit == 0 {
			return Lacking, "the processor does not say which address bit means encrypted", switchOnSNP
		}
		return Fine, fmt.Sprintf("address bit %d means encrypted", f.Encryption.CBit), ""
	}},
	firmware(func(f *Facts) string { return f.SNPFirmware }, "Debian's OVMF.fd does not check what it boots: use an image with our firmware (secretvm image build --firmware own)"),
}
