package exhibit_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/verification"
	"github.com/secretvm/secretvm/verification/exhibit"
	"github.com/secretvm/secretvm/verification/machinetest"
	"github.com/secretvm/secretvm/vm"
)

func text(t testing.TB, e exhibit.Exhibit) string {
	t.Helper()
	var b strings.Builder
	if err := e.WriteText(&b, false); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestOfAnswer: each part of an answer is there, and nothing calls it true.
func TestOfAnswer(t *testing.T) {
	m := machinetest.Boot(t)
	ev, err := m.TEE.Quote([64]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	ev.Events = m.Events
	forged := vm.RuntimeEvent("forged", []byte("text"))
	forged.Digest[0] ^= 1
	ev.Events = append(ev.Events[:len(ev.Events):len(ev.Events)], forged)
	a := verification.Answer{URL: "https://vm.example", Asked: time.Unix(0, 0), Config: m.Canonical, Attestation: vm.Attestation{Nonce: "00", Evidence: ev}}
	shown := text(t, exhibit.OfAnswer(a, "an answer"))
	for _, want := range []string{
		"MRTD               " + m.TEE.Read().MRTD.String(), "SEPT_VE_DISABLE", "certificate 3", "a root of its own, of no vendor", "level 1", "UpToDate",
		"RTMR3 compose-hash", `"text"`, "the digest does not follow from its name and payload", "config-hash", exhibit.Caution,
	} {
		if !strings.Contains(shown, want) {
			t.Errorf("it lacks %q:\n%s", want, shown)
		}
	}
	for _, not := range []string{"✓", "\nVERIFIED", "genuine"} {
		if strings.Contains(shown, not) {
			t.Errorf("it says %q", not)
		}
	}
}

// TestA4_EvidenceDoesNotWriteToTheTerminal: names in evidence are anybody's.
func TestA4_EvidenceDoesNotWriteToTheTerminal(t *testing.T) {
	a := verification.Answer{Attestation: vm.Attestation{Nonce: "\x1b[2J", Evidence: vm.Evidence{
		Quote: []byte("x"), Events: []vm.Event{vm.RuntimeEvent("\x1b]0;owned\a", []byte("\x1b[1m"))},
	}}, Config: []byte("\x1b[31m\u202e")}
	if shown := text(t, exhibit.OfAnswer(a, "\x1b[2J")); strings.ContainsAny(shown, "\x1b\a\u202e") {
		t.Errorf("%q", shown)
	}
}

// TestOfVectors decodes files of other projects; sections name what is in them.
func TestOfVectors(t *testing.T) {
	const vectors = "../../../shared/vectors"
	if _, err := os.Stat(vectors); err != nil {
		t.Skipf("independent vectors are not at %s: skipped", vectors)
	}
	for name, want := range map[string]string{
		"dcap-qvl/sample/tdx_quote":                                                                            "this is Intel's production root",
		"dcap-qvl/sample/sgx_quote":                                                                            "MRENCLAVE",
		"dcap-qvl/sample/tdx_quote_collateral.json":                                                            "module TDX_01",
		"secret-vm-kms/tests/collateral.txt":                                                                   "Identity of the quoting enclave",
		"go-tdx-guest/testing/testdata/quote_v5_sample.dat":                                                    "TD report, TDX 1.5",
		"go-tdx-guest/testing/testdata/sample_tcbInfo_response":                                                "TCB info",
		"go-tdx-guest/testing/testdata/pckcrl":                                                                 "revoked",
		"trustee/deps/verifier/test_data/tdx_quote_4.dat":                                                      "DEBUG: its host can read and change it",
		"trustee/deps/verifier/test_data/CCEL_data_ovmf":                                                       "kernel",
		"go-eventlog/testdata/eventlogs/ccel/cos-113-intel-tdx.bin":                                            "RTMR1",
		"secretvm-verify/test-data/amd_cpu_quote.txt":                                                          "product Genoa",
		"secretvm-verify/test-data/gpu_attest.txt":                                                             "driver",
		"nvidia-attestation-sdk/common-test-data/serialized_test_evidence/hopper_evidence.json":                "HOPPER",
		"trustee/deps/verifier/test_data/az-snp-vtpm/hcl-report.bin":                                           "MEASUREMENT",
		"nvidia-attestation-sdk/nv-attestation-sdk-cpp/unit-tests/testdata/NV_GPU_DRIVER_GH100_550.144.03.xml": "550.144.03",
		"nvidia-attestation-sdk/nv-attestation-sdk-cpp/unit-tests/testdata/sample_attestation_data/hopperClaimsv3_detached_eat.json": "https://nras.attestation.nvidia.com",
		"azure-sidecar/pkg/attest/test_data/uvm_host_amd_certificate.pem":                                                            "VCEK of Milan",
		"virtee-sev/tests/certs_data/vcek_turin.der":                                                                                 "SEV-VCEK",
		"dstack/dstack/verifier/fixtures/tdx-lite-getquote.json":                                                                     "RTMR3 system-ready",
	} {
		t.Run(name, func(t *testing.T) {
			b, err := os.ReadFile(filepath.Join(vectors, name))
			if err != nil {
				t.Fatal(err)
			}
			e, err := exhibit.Of(b)
			if err != nil {
				t.Fatal(err)
			}
			if shown := text(t, e); !strings.Contains(shown, want) {
				t.Errorf("it lacks %q:\n%s", want, shown)
			}
		})
	}
}

// FuzzOf: whatever a file holds, showing it is bounded, and it is text.
func FuzzOf(f *testing.F) {
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
	f.Add([]byte(`{"evidence_list":[{"arch":"HOPPER","evidence":"AAAA","certificate":"AAAA"}]}`))
	f.Add([]byte(`{"tee":"tdx","quote":"AAAA","events":[{"register":3,"name":"x","digest":"` + strings.Repeat("0", 96) + `"}]}`))
	f.Add([]byte(`{"tcbInfo":{},"signature":"00"}`))
	f.Add([]byte{0x30, 0x82, 0, 1, 0})
	f.Add([]byte(`[["JWT","eyJhbGciOiJFUzM4NCJ9.e30.AA"],{}]`))
	f.Add([]byte("<SoftwareIdentity/>"))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := exhibit.Of(b)
		if err != nil {
			return
		}
		if shown := text(t, e); strings.ContainsAny(shown, "\x1b\x00\a") || !strings.Contains(shown, exhibit.Caution) {
			t.Errorf("%q", shown)
		}
		if _, err := json.Marshal(e); err != nil {
			t.Error(err)
		}
	})
}
