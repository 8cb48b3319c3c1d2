package nvidia

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/attest/nvidia/spdm"
	"github.com/secretvm/secretvm/vm"
)

const (
	vectors = "../../../shared/vectors/"
	sdk     = vectors + "nvidia-attestation-sdk/nv-attestation-sdk-cpp/unit-tests/testdata/"
	samples = sdk + "sample_attestation_data/gpu/"
	serials = vectors + "nvidia-attestation-sdk/common-test-data/serialized_test_evidence/"
	trustee = vectors + "trustee/deps/verifier/test_data/nvidia/"
	gonv    = vectors + "go-nvtrust/pkg/gonvtrust/mocks/"
	scrt    = vectors + "secretvm-verify/test-data/gpu_attest.txt"
)

func file(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if os.IsNotExist(err) {
		t.Skipf("%s is not at hand: skipped", name)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// plain makes evidence of one device from a report and a chain; the nonce is
// the report's unless given in hex.
func plain(t testing.TB, report, chain, nonce string) *vm.GPUEvidence {
	t.Helper()
	text := strings.TrimSpace(string(file(t, report)))
	b, err := hex.DecodeString(text)
	if err != nil {
		if b, err = base64.StdEncoding.DecodeString(text); err != nil {
			t.Fatal(err)
		}
	}
	ev := &vm.GPUEvidence{Nonce: b[4 : 4+NonceSize], Devices: []vm.GPUDevice{{Kind: KindGPU, Evidence: b, CertChain: file(t, chain)}}}
	if nonce != "" {
		if ev.Nonce, err = hex.DecodeString(nonce); err != nil {
			t.Fatal(err)
		}
	}
	return ev
}

// serialised reads the JSON of NVIDIA's SDK (a list), or that of a request to
// its remote service.
func serialised(t testing.TB, name string) *vm.GPUEvidence {
	t.Helper()
	type entry struct {
		Nonce, Arch           string
		Evidence, Certificate []byte
	}
	var request struct {
		Nonce, Arch  string
		EvidenceList []entry `json:"evidence_list"`
	}
	b := file(t, name)
	if json.Unmarshal(b, &request) != nil {
		if err := json.Unmarshal(b, &request.EvidenceList); err != nil {
			t.Fatal(err)
		}
		request.Nonce = request.EvidenceList[0].Nonce
	}
	var ev vm.GPUEvidence
	ev.Nonce, _ = hex.DecodeString(request.Nonce)
	for _, e := range request.EvidenceList {
		ev.Devices = append(ev.Devices, vm.GPUDevice{Kind: KindGPU, Evidence: e.Evidence, CertChain: e.Certificate})
	}
	return &ev
}

func TestVectorsQuick(t *testing.T) {
	at := time.Date(2025, 6, 1, 0, 0, 0, 0, time.UTC)
	for name, ev := range map[string]*vm.GPUEvidence{
		"trustee":  plain(t, trustee+"hopperAttestationReport.txt", trustee+"hopper_cert_chain_case1.txt", ""),
		"trustee2": plain(t, trustee+"hopperAttestationReport.txt", trustee+"hopper_cert_chain_case2.txt", ""),
		"trustee3": plain(t, trustee+"hopperAttestationReport.txt", trustee+"hopper_cert_chain_case3.txt", ""),
		"trustee4": plain(t, trustee+"hopperAttestationReport.txt", trustee+"hopper_cert_chain_case4.txt", ""),
		"coco":     plain(t, trustee+"hopper_coco_report1.txt", trustee+"hopper_coco_certs1.txt", ""),
		"gonv":     plain(t, gonv+"attestationReport.txt", gonv+"gpuAkCertChain.txt", ""),
		"gonv bad": plain(t, gonv+"attestationReport.txt", gonv+"invalidCertChain.txt", ""),
		"sdk":      plain(t, sdk+"hopperAttestationReport.txt", sdk+"hopperCertChain.txt", ""),
		"sample":   plain(t, samples+"hopperAttestationReport.txt", samples+"hopperCertChain.txt", ""),
		"expired":  plain(t, samples+"hopperAttestationReportExpired.txt", samples+"hopperCertChainExpired.txt", ""),
		"invalid":  plain(t, samples+"hopperAttestationReportInvalidSignature.txt", samples+"hopperCertChainExpired.txt", ""),
		"evidence": serialised(t, serials+"hopper_evidence.json"),
		"hold":     serialised(t, serials+"hopper_evidence_cert_hold.json"),
		"590":      serialised(t, sdk+"evidence_hopper_590_12.json"),
		"secretvm": serialised(t, scrt),
	} {
		r, err := Verify(ev, Options{Time: at, Unchecked: true, Unmeasured: true})
		if err != nil {
			t.Log(name, err)
			continue
		}
		t.Logf("%s %+v", name, r.Devices[0].Facts)
	}
	_ = spdm.NonceSize
}
