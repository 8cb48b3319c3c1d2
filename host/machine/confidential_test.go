package machine

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/host/qemu"
	"github.com/secretvm/secretvm/vm"
)

// TestB6_MachineWithUntestedFirmwareIsNotStarted: before anything runs, whatever
// the host's processor.
func TestB6_MachineWithUntestedFirmwareIsNotStarted(t *testing.T) {
	image := t.TempDir()
	firmware, err := os.ReadFile("../../../shared/vectors/measure/sev-snp-measure/ovmf_OvmfX64_suffix.bin")
	if err != nil {
		t.Skipf("no vectors here: %v", err)
	}
	file := vm.File{Name: "OVMF.fd", Size: int64(len(firmware)), SHA256: vm.HashOf(firmware)}
	manifest, err := vm.Manifest{Version: 1, Firmware: file, Kernel: file, Initramfs: file, Rootfs: file}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{vm.ManifestName: manifest, file.Name: firmware} {
		if err := os.WriteFile(filepath.Join(image, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	folder, err := Open(filepath.Join(t.TempDir(), "machine"), 64<<20)
	if err != nil {
		t.Fatal(err)
	}
	start := func(tee vm.TEE, want string) {
		t.Helper()
		_, err := folder.Start(t.Context(), Boot{
			Name: "x", TEE: tee, Shape: vm.DefaultShape, Image: image, QEMU: qemu.Binary{Argv: []string{"/no/such/qemu"}},
		})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error is %v, want one with %q", tee, err, want)
		}
	}
	start(vm.TDX, "cannot be launched on TDX")
	start(vm.SNP, "takes no hashes")
	// An image's firmware for SNP is what counts there, and only there.
	other, err := os.ReadFile("../../../shared/vectors/measure/sev-snp-measure/ovmf_AmdSev_suffix.bin")
	if err != nil {
		t.Skipf("no vectors here: %v", err)
	}
	beside := vm.File{Name: "secretvm-snp.fd", Size: int64(len(other)), SHA256: vm.HashOf(other)}
	if manifest, err = (vm.Manifest{Version: 1, Firmware: file, Kernel: file, Initramfs: file, Rootfs: file, SNPFirmware: &beside}).Encode(); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{vm.ManifestName: manifest, beside.Name: other} {
		if err := os.WriteFile(filepath.Join(image, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	start(vm.TDX, "cannot be launched on TDX")
	start(vm.SNP, "nobody has shown")
}
