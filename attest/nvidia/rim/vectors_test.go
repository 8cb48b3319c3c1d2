package rim

import (
	"os"
	"testing"

	"github.com/secretvm/secretvm/vm"
)

const sdk = "../../../../shared/vectors/nvidia-attestation-sdk/nv-attestation-sdk-cpp/unit-tests/testdata/"

// vector reads a file of NVIDIA's attestation SDK.
func vector(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(sdk + name)
	if os.IsNotExist(err) {
		t.Skipf("%s is not at hand: skipped", name)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestVectors(t *testing.T) {
	for _, row := range []struct {
		file, version string
		golden        int
		want          vm.Code
	}{
		{"NV_GPU_DRIVER_GH100_550.144.03.xml", "550.144.03", 21, ""},
		{"incorrect_signature_driver_rim.xml", "", 0, vm.CodeSignature},
		{"incorrect_cert_chain_driver_rim.xml", "", 0, ""},
		{"sample_rims/NV_GPU_DRIVER_GH100_535.86.09_measurement_mismatch.xml", "535.86.09", 0, ""},
		{"sample_rims/NV_GPU_DRIVER_GH100_570.124.03_expired.xml", "570.124.03", 21, ""},
		{"sample_rims/NV_GPU_VBIOS_1010_0200_882_96005E0001_measurement_mismatch.xml", "96.00.5E.00.01", 12, ""},
	} {
		t.Run(row.file, func(t *testing.T) {
			d, err := Open(vector(t, row.file))
			t.Log(d.Product, d.Version, len(d.Golden), err)
		})
	}
}
