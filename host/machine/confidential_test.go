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
	for tee, want := range map[vm.TEE]string{vm.SNP: "takes no hashes", vm.TDX: "cannot be launched on TDX"} {
		_, err := folder.Start(t.Context(), Boot{
			Name: "x", TEE: tee, Shape: vm.DefaultShape, Image: image, QEMU: qemu.Binary{Argv: []string{"/no/such/qemu"}},
		})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error is %v, want one with %q", tee, err, want)
		}
	}
}
