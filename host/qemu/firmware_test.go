package qemu

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/measure/snp"
	"github.com/secretvm/secretvm/vm"
)

// vector reads a firmware image, or the end of one, of another predictor's tests.
func vector(t *testing.T, name string) []byte {
	t.Helper()
	image, err := os.ReadFile(filepath.Join("../../../shared/vectors/measure/sev-snp-measure", name))
	if err != nil {
		t.Skipf("no vectors here: %v", err)
	}
	return image
}

// TestB6_FirmwareWithoutVerifierIsNotStarted: neither firmware without a place
// for hashes, nor firmware that has one and that nobody has seen use it.
func TestB6_FirmwareWithoutVerifierIsNotStarted(t *testing.T) {
	plain := vector(t, "ovmf_OvmfX64_suffix.bin")
	err := CheckFirmware(vm.SNP, plain, []vm.Hash{vm.HashOf(plain)})
	if err == nil || vm.CodeOf(err) != vm.CodeImage || !strings.Contains(err.Error(), "takes no hashes") {
		t.Errorf("plain OVMF: %v", err)
	}
	withTable := vector(t, "ovmf_AmdSev_suffix.bin")
	err = CheckFirmware(vm.SNP, withTable, []vm.Hash{vm.HashOf(plain)})
	if err == nil || vm.CodeOf(err) != vm.CodeImage || !strings.Contains(err.Error(), "nobody has shown") {
		t.Errorf("firmware that nobody tested: %v", err)
	}
	if err := CheckFirmware(vm.SNP, withTable, []vm.Hash{vm.HashOf(withTable)}); err != nil {
		t.Errorf("firmware that was tested: %v", err)
	}
}

func TestCheckFirmware(t *testing.T) {
	for _, tee := range []vm.TEE{vm.TDX, vm.SNP} {
		if err := CheckFirmware(tee, make([]byte, 1<<20), nil); err == nil || !strings.Contains(err.Error(), "cannot be launched") {
			t.Errorf("%s: zeros as firmware: %v", tee, err)
		}
	}
	if err := CheckFirmware(vm.Soft, nil, nil); err != nil {
		t.Errorf("soft machines: %v", err)
	}
	if err := CheckFirmware(vm.SGX, nil, nil); err == nil {
		t.Error("there are no SGX machines")
	}
}

// The predictor knows the processor that SNP machines are given.
func TestSNPModelIsPredictable(t *testing.T) {
	if signature, err := snp.Signature(SNPModel); err != nil || signature != 0x800f12 {
		t.Errorf("%s has signature %#x, %v", SNPModel, signature, err)
	}
}
