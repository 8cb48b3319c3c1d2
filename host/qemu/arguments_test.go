package qemu

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/vm"
)

var update = flag.Bool("update", false, "write the golden files")

// machine is one whose every string would be split if it were not escaped.
func machine(tee vm.TEE, shape vm.Shape) Machine {
	return Machine{
		Name: "guest,book", TEE: tee, Shape: shape,
		Firmware: "/i/OVMF.fd", Kernel: "/i/vmlinuz", Initramfs: "/i/initramfs.cpio", CommandLine: "console=ttyS0 panic=-1 secretvm.verity=51ab",
		Rootfs: `/i/a,b "c"/rootfs.img`, Config: "/m/config.img", Data: "/m/data.img",
		Forwards: []Forward{{8080, 80}, {29343, 29343}},
	}
}

func TestArgumentsGolden(t *testing.T) {
	kvm := machine(vm.Soft, vm.DefaultShape)
	kvm.KVM = true
	tdx := machine(vm.TDX, vm.Shape{CPUs: 4, Memory: 4 << 30})
	tdx.ConfigID[0] = 0xff
	snp := tdx
	snp.TEE, snp.Encryption = vm.SNP, Encryption{CBit: 51, ReducedBits: 1}
	large := snp
	large.Shape = vm.Shape{CPUs: 64, Memory: 512 << 30}
	one := snp
	one.Shape, one.GPUs = vm.Shape{CPUs: 8, Memory: 64 << 30, GPUs: 1}, []string{"0000:c1:00.0"}
	eight := tdx
	eight.Shape = vm.Shape{CPUs: 64, Memory: 512 << 30, GPUs: 8}
	for i := range 8 {
		eight.GPUs = append(eight.GPUs, fmt.Sprintf("0000:%02x:00.0", 0x17+i))
	}
	for name, m := range map[string]Machine{
		"tdx-64x524288-8gpu": eight,
		"snp-8x65536-1gpu":   one,
		"soft-2x2048":        machine(vm.Soft, vm.DefaultShape),
		"soft-1x512":         machine(vm.Soft, vm.Shape{CPUs: 1, Memory: 512 << 20}),
		"soft-64x524288":     machine(vm.Soft, vm.Shape{CPUs: 64, Memory: 512 << 30}),
		"soft-2x2048-kvm":    kvm,
		"tdx-4x4096":         tdx,
		"snp-4x4096":         snp,
		"snp-64x524288":      large,
		"soft-no-ports":      {TEE: vm.Soft, Shape: vm.DefaultShape, Name: "x", Firmware: "/f", Kernel: "/k", Initramfs: "/n", Rootfs: "/r", Config: "/c", Data: "/d"},
	} {
		t.Run(name, func(t *testing.T) {
			args, err := m.Arguments()
			if err != nil {
				t.Fatal(err)
			}
			got := strings.Join(args, "\n") + "\n"
			golden := filepath.Join("testdata", name+".args")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("arguments differ from %s (go test ./host/qemu -update, and look at the difference):\n%s", golden, got)
			}
		})
	}
}

// What the guest sees must not move with paths, ports or accelerator: the
// registers are predicted from TEE and shape alone.
func TestHardwareFollowsFromShapeAlone(t *testing.T) {
	for _, tee := range []vm.TEE{vm.Soft, vm.TDX, vm.SNP} {
		hardware, err := Hardware(tee, vm.DefaultShape)
		if err != nil {
			t.Fatal(err)
		}
		a := machine(tee, vm.DefaultShape)
		a.Encryption = Encryption{51, 1}
		b := a
		b.KVM, b.Forwards, b.Rootfs, b.Name = true, nil, "/elsewhere", "other"
		b.Encryption, b.ConfigID[0] = Encryption{47, 5}, 1
		if tee != vm.Soft {
			a.Shape.GPUs, a.GPUs = 2, []string{"0000:01:00.0", "0000:02:00.0"}
			b.Shape.GPUs, b.GPUs = 2, []string{"0001:81:00.0", "0000:02:00.0"}
			if hardware, err = Hardware(tee, a.Shape); err != nil {
				t.Fatal(err)
			}
		}
		for _, m := range []Machine{a, b} {
			args, err := m.Arguments()
			if err != nil {
				t.Fatal(err)
			}
			if !contains(args, hardware) {
				t.Errorf("arguments %q do not contain the hardware %q as they are", args, hardware)
			}
			for _, arg := range args {
				if strings.Contains(arg, "bootindex") {
					t.Errorf("%q would add a measured boot entry", arg)
				}
			}
		}
	}
}

func TestArgumentsRefuse(t *testing.T) {
	for name, tc := range map[string]struct {
		change  func(*Machine)
		wantErr string
	}{
		"no memory":                         {func(m *Machine) { m.Shape.Memory = 0 }, "memory"},
		"odd memory":                        {func(m *Machine) { m.Shape.Memory++ }, "whole MiB"},
		"no processor":                      {func(m *Machine) { m.Shape.CPUs = 0 }, "vCPUs"},
		"other TEE":                         {func(m *Machine) { m.TEE = vm.SGX }, `"sgx"`},
		"no position of the encryption bit": {func(m *Machine) { m.TEE = vm.SNP }, "memory encryption bit 0"},
		"address bits of no processor": {func(m *Machine) {
			m.TEE, m.Encryption = vm.SNP, Encryption{CBit: 51}
		}, "0 address bits fewer"},
		"digest longer than HOST_DATA": {func(m *Machine) {
			m.TEE, m.Encryption, m.ConfigID[32] = vm.SNP, Encryption{51, 1}, 1
		}, "HOST_DATA"},
		"GPUs that are not named":   {func(m *Machine) { m.TEE, m.Shape.GPUs = vm.TDX, 1 }, "0 GPUs are named, the shape has 1"},
		"GPUs that the shape lacks": {func(m *Machine) { m.TEE, m.GPUs = vm.TDX, []string{"0000:17:00.0"} }, "1 GPUs are named, the shape has 0"},
		"one GPU twice": {func(m *Machine) {
			m.TEE, m.Shape.GPUs, m.GPUs = vm.TDX, 2, []string{"0000:17:00.0", "0000:17:00.0"}
		}, "of its own"},
		"option as GPU": {func(m *Machine) {
			m.TEE, m.Shape.GPUs, m.GPUs = vm.TDX, 1, []string{"0000:17:00.0,rombar=1"}
		}, "want a PCI address"},
		"GPU of a soft machine": {func(m *Machine) { m.Shape.GPUs, m.GPUs = 1, []string{"0000:17:00.0"} }, "soft machines get no GPU"},
		"relative path":         {func(m *Machine) { m.Data = "data.img" }, "data disk"},
		"option as path": {func(m *Machine) {
			m.Kernel = "-monitor"
		}, "kernel"},
	} {
		t.Run(name, func(t *testing.T) {
			m := machine(vm.Soft, vm.DefaultShape)
			tc.change(&m)
			_, err := m.Arguments()
			if err == nil || !strings.Contains(err.Error(), tc.wantErr) {
				t.Errorf("error is %v, want one with %q", err, tc.wantErr)
			}
		})
	}
}

func TestVirtualises(t *testing.T) {
	for text, want := range map[string]bool{
		"flags\t\t: fpu vmx sse\n":                 true,
		"flags : fpu svm\n":                        true,
		"flags : fpu sse\nvmx flags : ept\n":       false,
		"model name : svm\nflags : fpu svm_lock\n": false,
		"": false,
	} {
		if got := virtualises(text); got != want {
			t.Errorf("virtualises(%q) = %v", text, got)
		}
	}
}

func TestCheckVersion(t *testing.T) {
	for text, wantErr := range map[string]string{
		"QEMU emulator version 11.1.3 (Debian 1:11.1.3+ds-1~bpo13+1)\n": "",
		"QEMU emulator version 8.1.0\n":                                 "",
		"QEMU emulator version 8.0.5\n":                                 "want 8.1 or later",
		"QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg)\n":            "want 8.1 or later",
		"GNU bash, version 5.2\n":                                       "does not say that it is QEMU",
		"":                                                              "does not say that it is QEMU",
	} {
		err := checkVersion("/usr/bin/q", text)
		if wantErr == "" && err != nil || wantErr != "" && (err == nil || !strings.Contains(err.Error(), wantErr)) {
			t.Errorf("checkVersion(%q) = %v, want %q", text, err, wantErr)
		}
	}
}

func contains(all, part []string) bool {
	for i := range all {
		if len(all)-i >= len(part) && slices.Equal(all[i:i+len(part)], part) {
			return true
		}
	}
	return false
}
