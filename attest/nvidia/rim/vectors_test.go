package rim

import (
	"testing"
	"time"

	"github.com/secretvm/secretvm/attest/nvidia/pki"
	"github.com/secretvm/secretvm/test/vectors"
	"github.com/secretvm/secretvm/vm"
)

const sdk = "nvidia-attestation-sdk/nv-attestation-sdk-cpp/unit-tests/testdata/"

// vector reads a file of NVIDIA's attestation SDK.
func vector(t testing.TB, name string) []byte {
	t.Helper()
	return vectors.ReadIfThere(t, sdk+name)
}

// TestVectors: signatures of NVIDIA's samples. Two of them, named for what else
// is wrong, were changed after signing, which comes first.
func TestVectors(t *testing.T) {
	in2025 := time.Date(2025, 6, 1, 0, 0, 0, 0, time.UTC)
	const root, leaf = "trusted_certs/rim_root.crt", "incorrect_rim_root.crt"
	for _, row := range []struct {
		file, root string
		at         time.Time
		version    string
		golden     int
		want       vm.Code
	}{
		{"NV_GPU_DRIVER_GH100_550.144.03.xml", root, in2025, "550.144.03", 21, ""},
		{"NV_GPU_DRIVER_GH100_550.144.03.xml", leaf, in2025, "", 0, vm.CodeChain},
		{"NV_GPU_DRIVER_GH100_550.144.03.xml", root, in2025.AddDate(2, 0, 0), "", 0, vm.CodeExpired},
		{"NV_GPU_DRIVER_GH100_550.144.03.xml", root, in2025.AddDate(-1, 0, 0), "", 0, vm.CodeExpired},
		{"sample_rims/NV_GPU_VBIOS_1010_0200_882_96005E0001_measurement_mismatch.xml", root, in2025, "96.00.5E.00.01", 12, ""},
		{"incorrect_signature_driver_rim.xml", root, in2025, "", 0, vm.CodeSignature},
		{"incorrect_cert_chain_driver_rim.xml", root, in2025, "", 0, vm.CodeChain},
		{"sample_rims/NV_GPU_DRIVER_GH100_535.86.09_measurement_mismatch.xml", root, in2025, "", 0, vm.CodeSignature},
		{"sample_rims/NV_GPU_DRIVER_GH100_570.124.03_expired.xml", root, in2025, "", 0, vm.CodeSignature},
		{"switchVBIOSRim_NV_SWITCH_BIOS_5612_0002_890_9610550001.xml", root, in2025, "96.10.55.00.01", 0, ""},
		{"sample_rims/NV_SWITCH_BIOS_5612_0002_890_9610550001_invalid_signature.xml", root, in2025, "", 0, vm.CodeSignature},
	} {
		t.Run(row.file+" "+row.root+" "+row.at.Format(time.DateOnly), func(t *testing.T) {
			roots, err := pki.ParsePEM("root", vector(t, row.root))
			if err != nil {
				t.Fatal(err)
			}
			d, err := Open(vector(t, row.file))
			if err == nil {
				_, err = d.Trust(pki.NewChecker(row.at), roots)
			}
			if row.want != "" {
				if vm.CodeOf(err) != row.want {
					t.Fatalf("%v, want %s", err, row.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if d.Version != row.version || row.golden != 0 && len(d.Golden) != row.golden {
				t.Errorf("version %s with %d measurements, want %s with %d", d.Version, len(d.Golden), row.version, row.golden)
			}
		})
	}
}

// TestAlternatives: measurement 35 of the sample has four values.
func TestAlternatives(t *testing.T) {
	d, err := Open(vector(t, "NV_GPU_DRIVER_GH100_550.144.03.xml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range d.Golden {
		if g.Index != 35 {
			continue
		}
		if len(g.Values) != 4 || !g.Allows(g.Values[3]) || g.Allows(make([]byte, digestSize)) || g.Allows(nil) {
			t.Errorf("measurement 35 has %d values, and does not allow just those", len(g.Values))
		}
		return
	}
	t.Error("measurement 35 is missing")
}
