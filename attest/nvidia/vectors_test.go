package nvidia

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/attest/nvidia/pki"
	"github.com/secretvm/secretvm/test/vectors"
	"github.com/secretvm/secretvm/vm"
)

const (
	sdk     = "nvidia-attestation-sdk/nv-attestation-sdk-cpp/unit-tests/testdata/"
	samples = sdk + "sample_attestation_data/gpu/"
	serials = "nvidia-attestation-sdk/common-test-data/serialized_test_evidence/"
	trustee = "trustee/deps/verifier/test_data/nvidia/"
	gonv    = "go-nvtrust/pkg/gonvtrust/mocks/"
	scrt    = "secretvm-verify/test-data/gpu_attest.txt"
)

// plain makes evidence of one device from a report and a chain; the nonce is
// the report's unless given in hex.
func plain(t testing.TB, report, chain, nonce string) *vm.GPUEvidence {
	t.Helper()
	text := strings.TrimSpace(string(vectors.ReadIfThere(t, report)))
	b, err := hex.DecodeString(text)
	if err != nil {
		if b, err = base64.StdEncoding.DecodeString(text); err != nil {
			t.Fatal(err)
		}
	}
	ev := &vm.GPUEvidence{Nonce: b[4 : 4+NonceSize], Devices: []vm.GPUDevice{{Kind: KindGPU, Evidence: b, CertChain: vectors.ReadIfThere(t, chain)}}}
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
	b := vectors.ReadIfThere(t, name)
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

// TestVectors holds every sample of NVIDIA's SDK, trustee, go-nvtrust and
// existing SecretVM to what its PROVENANCE.md expects. No sample brings
// revocation answers, and most bring no reference documents; each row says
// what is refused for the lack of them, and what the rest proves.
func TestVectors(t *testing.T) {
	const nonce1 = "931d8dd0add203ac3d8b4fbde75e115278eefcdceac5b87671a748f32364dfcb"
	const nonce2 = "27a328247bf7935c993341cf587be6f05986ccce4fe7ba2c54100bd616a58f66"
	zero := strings.Repeat("0", 2*NonceSize)
	in2025 := time.Date(2025, 6, 1, 0, 0, 0, 0, time.UTC)
	bare := Options{Time: in2025, Unchecked: true, Unmeasured: true}
	alone := bare
	alone.Unlinked = true
	type evidence = func(t *testing.T) *vm.GPUEvidence
	pair := func(report, chain, nonce string, rims ...string) evidence {
		return func(t *testing.T) *vm.GPUEvidence {
			ev := plain(t, report, chain, nonce)
			for _, name := range rims {
				ev.RIMs = append(ev.RIMs, vectors.ReadIfThere(t, sdk+name))
			}
			return ev
		}
	}
	list := func(name string, rims ...string) evidence {
		return func(t *testing.T) *vm.GPUEvidence {
			ev := serialised(t, name)
			for _, r := range rims {
				ev.RIMs = append(ev.RIMs, vectors.ReadIfThere(t, sdk+r))
			}
			return ev
		}
	}
	const driver550, driver535, driver570, vbios5E = "NV_GPU_DRIVER_GH100_550.144.03.xml", "sample_rims/NV_GPU_DRIVER_GH100_535.86.09_measurement_mismatch.xml",
		"sample_rims/NV_GPU_DRIVER_GH100_570.124.03_expired.xml", "sample_rims/NV_GPU_VBIOS_1010_0200_882_96005E0001_measurement_mismatch.xml"
	for _, row := range []struct {
		name     string
		evidence evidence
		options  Options
		want     vm.Code
		says     string // of a refusal its text, else driver and VBIOS
	}{
		{"sdk sample", pair(samples+"hopperAttestationReport.txt", samples+"hopperCertChain.txt", nonce2), bare, "", "535.86.09 96.00.5E.00.01"},
		{"sdk sample, nonce all zero", pair(samples+"hopperAttestationReport.txt", samples+"hopperCertChain.txt", zero), bare, vm.CodeStale, "another nonce"},
		{"sdk sample, invalid signature", pair(samples+"hopperAttestationReportInvalidSignature.txt", samples+"hopperCertChainExpired.txt", ""), bare, vm.CodeSignature, "report of the GH100"},
		{"sdk sample of the expired document, alone", pair(samples+"hopperAttestationReportExpired.txt", samples+"hopperCertChainExpired.txt", ""), bare, "", "570.124.03 96.00.5E.00.04"},
		{"sdk sample, driver document that was changed and has expired", pair(samples+"hopperAttestationReportExpired.txt", samples+"hopperCertChainExpired.txt", "", driver570), bare, vm.CodeSignature, "changed after"},
		{"sdk sample, driver document that was changed", pair(samples+"hopperAttestationReport.txt", samples+"hopperCertChain.txt", "", driver535), bare, vm.CodeSignature, "changed after"},
		{"sdk sample, VBIOS document that differs", pair(samples+"hopperAttestationReport.txt", samples+"hopperCertChain.txt", "", vbios5E), bare, vm.CodeGPUMeasured, "NV_GPU_VBIOS_1010_0200_882_96005E0001"},
		{"sdk sample, strict", pair(samples+"hopperAttestationReport.txt", samples+"hopperCertChain.txt", ""), Options{Time: in2025}, vm.CodeCollateral, "OCSP answer"},
		{"sdk sample, no documents", pair(samples+"hopperAttestationReport.txt", samples+"hopperCertChain.txt", ""), Options{Time: in2025, Unchecked: true}, vm.CodeCollateral, "NV_GPU_DRIVER_GH100_535.86.09"},
		{"sdk unit test", pair(sdk+"hopperAttestationReport.txt", sdk+"hopperCertChain.txt", ""), bare, "", "580.159.03 96.00.74.00.20"},
		{"sdk serialised", list(serials + "hopper_evidence.json"), alone, "", "590.12 96.00.A5.00.01"},
		{"sdk serialised, in protected PCIe mode without its switches", list(serials + "hopper_evidence.json"), bare, vm.CodeGPU, "switch"},
		{"sdk serialised, certificate on hold: needs NVIDIA's answer", list(serials + "hopper_evidence_cert_hold.json"), Options{Time: in2025, Unmeasured: true}, vm.CodeCollateral, "OCSP answer"},
		{"sdk driver 590.12", list(sdk + "evidence_hopper_590_12.json"), alone, "", "590.12 96.00.A5.00.01"},
		{"sdk blackwell", pair(samples+"blackwellAttestationReport.txt", samples+"blackwellCertChain.txt", nonce1), bare, "", ""},
		{"trustee, case 1", pair(trustee+"hopperAttestationReport.txt", trustee+"hopper_cert_chain_case1.txt", nonce1), bare, "", "550.90.07 96.00.9F.00.01"},
		{"trustee, case 2: only the root", pair(trustee+"hopperAttestationReport.txt", trustee+"hopper_cert_chain_case2.txt", nonce1), bare, vm.CodeChain, "no issuer"},
		{"trustee, case 3: no intermediate", pair(trustee+"hopperAttestationReport.txt", trustee+"hopper_cert_chain_case3.txt", nonce1), bare, vm.CodeChain, "not by the next one"},
		{"trustee, case 4: no firmware id", pair(trustee+"hopperAttestationReport.txt", trustee+"hopper_cert_chain_case4.txt", nonce1), bare, vm.CodeChain, "may not sign evidence"},
		{"trustee, coco", pair(trustee+"hopper_coco_report1.txt", trustee+"hopper_coco_certs1.txt", ""), bare, "", "580.95.05 96.00.74.00.1A"},
		{"go-nvtrust", pair(gonv+"attestationReport.txt", gonv+"gpuAkCertChain.txt", ""), bare, "", "545.00 96.00.5E.00.01"},
		{"go-nvtrust, VBIOS document that differs", pair(gonv+"attestationReport.txt", gonv+"gpuAkCertChain.txt", "", vbios5E), bare, vm.CodeGPUMeasured, "different: 1, 2, 3, 9:"},
		{"go-nvtrust, invalid chain", pair(gonv+"attestationReport.txt", gonv+"invalidCertChain.txt", ""), bare, vm.CodeChain, "not by the next one"},
		{"go-nvtrust, another's chain", pair(gonv+"attestationReport.txt", trustee+"hopper_cert_chain_case1.txt", ""), bare, vm.CodeSignature, "report of the GH100"},
		{"secretvm, H200", list(scrt), bare, "", "550.144.03 96.00.9F.00.02"},
		{"secretvm, H200, NVIDIA's driver document agrees", list(scrt, driver550), bare, "", "550.144.03 96.00.9F.00.02"},
		{"secretvm, H200, VBIOS document missing", list(scrt, driver550), Options{Time: in2025, Unchecked: true}, vm.CodeCollateral, "NV_GPU_VBIOS_1010_0210_886_96009F0002"},
		{"secretvm, H200, driver document expired", list(scrt, driver550), Options{Time: in2025.AddDate(3, 0, 0), Unchecked: true, Unmeasured: true}, vm.CodeExpired, "has expired"},
		{"secretvm, H200, driver document with another signature", list(scrt, "incorrect_signature_driver_rim.xml"), bare, vm.CodeSignature, "reference document"},
	} {
		t.Run(row.name, func(t *testing.T) {
			r, err := Verify(row.evidence(t), row.options)
			if row.want != "" {
				refused(t, err, row.want, row.says)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			facts := r.Devices[0].Facts
			if got := facts.Driver + " " + facts.Firmware; row.says != "" && got != row.says {
				t.Errorf("driver and VBIOS %s, want %s", got, row.says)
			}
			if !r.Devices[0].Root.Equal(DeviceRoot()) || facts.Kind != KindGPU || facts.Measured || facts.Unrevoked {
				t.Errorf("facts %+v below %v", facts, r.Devices[0].Root.Subject)
			}
		})
	}
}

// TestRoots holds the embedded roots to their fingerprints, and to what genuine
// chains and NVIDIA's SDK carry.
func TestRoots(t *testing.T) {
	for _, row := range []struct {
		root        *x509.Certificate
		fingerprint string
		carried     string
	}{
		{DeviceRoot(), "102bf659d5419614c9d8e6aecebc80454eb26b1df6a769ac720b9a690b167b48", trustee + "hopper_cert_chain_case2.txt"},
		{RIMRoot(), "12977b5115acb0381179279fffeb5a8c4d264971ebb32298023a465fa41df5d1", sdk + "trusted_certs/rim_root.crt"},
	} {
		if got := vm.HashOf(row.root.Raw).String(); got != row.fingerprint {
			t.Errorf("embedded root %v is %s, want %s", row.root.Subject, got, row.fingerprint)
		}
		if err := row.root.CheckSignatureFrom(row.root); err != nil {
			t.Error(err)
		}
		carried, err := pki.ParsePEM("vector", vectors.ReadIfThere(t, row.carried))
		if err != nil || !carried[0].Equal(row.root) {
			t.Errorf("%s carries another root (%v)", row.carried, err)
		}
	}
	// One must not stand for the other, not even when both are named.
	both := []*x509.Certificate{DeviceRoot(), RIMRoot()}
	if got := rootsFor(both, DeviceRoot(), RIMRoot()); len(got) != 1 || !got[0].Equal(DeviceRoot()) {
		t.Errorf("roots for devices: %d", len(got))
	}
}
