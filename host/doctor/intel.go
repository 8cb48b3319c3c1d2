package doctor

import (
	"fmt"
	"strings"

	"github.com/secretvm/secretvm/host/qemu"
)

// tdxModels are the models of family 6 with TDX (Linux,
// arch/x86/include/asm/intel-family.h).
var tdxModels = map[int]string{
	0x8f: "Sapphire Rapids", 0xcf: "Emerald Rapids", 0xad: "Granite Rapids", 0xae: "Granite Rapids D",
	0xaf: "Sierra Forest", 0xdd: "Clearwater Forest", 0x01: "Diamond Rapids",
}

// tdxFlag says that the BIOS has left keys for TDX (X86_FEATURE_TDX_HOST_PLATFORM).
const tdxFlag = "tdx_host_platform"

const switchOnTDX = "in the BIOS switch on, in this order: Memory Encryption (TME), Multi-Tenant TME (TME-MT), TDX, SEAM loader, " +
	"with a TME-MT/TDX key split above 0, and SGX; then boot again"

// intel is what machines on TDX need.
var intel = []check{
	{processor, func(f *Facts) (State, string, string) {
		_, known := tdxModels[f.CPU.Model]
		return bareMetal(f, f.CPU.Flags[tdxFlag] || f.CPU.Family == 6 && known || f.CPU.Family > 6,
			"TDX is in Xeons of the 5th generation (Emerald Rapids) or later, and in some of the 4th")
	}},
	{"bios", func(f *Facts) (State, string, string) {
		switch {
		case f.CPU.Flags[tdxFlag] || f.makes(typeTDX):
			return Fine, "TDX is on: there are keys for its machines", ""
		case f.Kernel.Before(6, 8):
			return Noted, "this kernel is too old to tell", switchOnTDX
		}
		return Lacking, "TDX is off: no keys were left for its machines", switchOnTDX
	}},
	kernelFrom(6, 16, "TDX in KVM"),
	needKVM,
	{"kvm_intel", func(f *Facts) (State, string, string) {
		asked := strings.Contains(strings.Join(f.CommandLine, " "), "kvm_intel.tdx=1") || strings.Contains(strings.Join(f.CommandLine, " "), "kvm_intel.tdx=Y")
		switch value := f.Parameters["kvm_intel.tdx"]; {
		case value == "Y" || value == "1":
			return Fine, "kvm_intel.tdx is on", ""
		case !f.loaded("kvm_intel"):
			return Lacking, "kvm_intel is not loaded", "sudo modprobe kvm_intel tdx=1"
		case value == "":
			return Lacking, "this kvm_intel has no switch for TDX", "install a kernel built with CONFIG_KVM_INTEL_TDX"
		case asked:
			return Lacking, "kvm_intel.tdx was asked for, and KVM could not do it", "look at: sudo dmesg | grep -i tdx"
		}
		return Lacking, "kvm_intel.tdx is off", "echo options kvm_intel tdx=1 | sudo tee /etc/modprobe.d/tdx.conf (or kvm_intel.tdx=1 on the kernel's command line), and boot again"
	}},
	machines(typeTDX, "TDX", "tdx"),
	{"sgx", func(f *Facts) (State, string, string) {
		switch {
		case !f.CPU.Flags["sgx"]:
			return Lacking, "SGX is off; Intel's quoting enclave signs what machines show", "switch on SGX in the BIOS, with Auto MP Registration, and boot again"
		case !f.SGX:
			return Lacking, "there is no /dev/sgx_enclave", "install a kernel built with CONFIG_X86_SGX"
		}
		return Fine, "/dev/sgx_enclave is there", ""
	}},
	{"qgs", func(f *Facts) (State, string, string) {
		port := fmt.Sprintf("write port = %s to /etc/qgs.conf, and: sudo systemctl restart qgsd", qemu.QGSPort)
		switch {
		case !f.QGS.Running && !f.QGS.Installed:
			return Lacking, "Intel's quote generation service is not installed", "install tdx-qgs of Intel's DCAP packages, and: sudo systemctl enable --now qgsd"
		case !f.QGS.Running:
			return Lacking, "Intel's quote generation service does not run", "sudo systemctl enable --now qgsd; sudo journalctl -u qgsd"
		case f.QGS.Port == 0:
			return Lacking, "the quote generation service listens at a UNIX socket, not at vsock", port
		case fmt.Sprint(f.QGS.Port) != qemu.QGSPort:
			return Lacking, fmt.Sprintf("the quote generation service listens at vsock port %d", f.QGS.Port), port
		}
		return Fine, "the quote generation service runs, at vsock port " + qemu.QGSPort, ""
	}},
	{"vsock", func(f *Facts) (State, string, string) {
		if f.loaded("vsock_loopback") {
			return Fine, "vsock_loopback is loaded: QEMU reaches the quote generation service", ""
		}
		return Noted, "vsock_loopback is not loaded; most kernels load it when it is needed", "if quotes fail: sudo modprobe vsock_loopback"
	}},
	{"pccs", func(f *Facts) (State, string, string) {
		switch {
		case f.PCCS.URL == "":
			return Lacking, "no certificate service is named in /etc/sgx_default_qcnl.conf", "install libsgx-dcap-default-qpl, and name a PCCS there"
		case f.PCCS.Local && !f.PCCS.Listening:
			return Lacking, fmt.Sprintf("nothing listens at port %d for %s", f.PCCS.Port, f.PCCS.URL), "sudo systemctl enable --now pccs, or name another one in /etc/sgx_default_qcnl.conf"
		case !f.PCCS.Local:
			return Noted, f.PCCS.URL + " (not asked)", ""
		}
		return Fine, f.PCCS.URL, ""
	}},
	firmware(func(f *Facts) string { return f.TDXFirmware }, "name an image that this program has built"),
}
