package attest

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/attest/snp"
	"github.com/secretvm/secretvm/vm"
)

// snpTime is inside the validity of every certificate among the vectors.
var snpTime = time.Date(2025, 6, 1, 0, 0, 0, 0, time.UTC)

// dstackTime is inside the validity of dstack's VCEK.
var dstackTime = time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)

// lenient accepts what the vectors show: firmware of their day, reports asked
// for at VMPL 1, and no revocation list, which none of them carries.
func lenient() Policy {
	return Policy{Accept: []string{"UpToDate", "ConfigurationNeeded", "OutOfDate"}, SNP: SNPPolicy{VMPL: 1, WithoutCRL: true}}
}

const (
	trusteeSNP = "trustee/deps/verifier/test_data/snp/"
	trusteeAz  = "trustee/deps/verifier/test_data/az-snp-vtpm/"
	dstackSNP  = "dstack/dstack/dstack-attest/tests/"
	sidecar    = "azure-sidecar/pkg/attest/test_data/"
	goSEV      = "go-sev-guest/verify/testdata/"
	virteeSEV  = "virtee-sev/tests/certs_data/"
)

// der reads a certificate in PEM or DER.
func der(t *testing.T, b []byte) []byte {
	t.Helper()
	if block, _ := pem.Decode(b); block != nil {
		return block.Bytes
	}
	return b
}

// hcl cuts the report out of the envelope of Azure's paravisor: 32 bytes of
// header, then the report.
func hcl(b []byte) []byte { return b[32:][:snp.ReportSize] }

// azureSNP reads the evidence forms of trustee's Azure verifier.
func azureSNP(t *testing.T, name string) (report, vcek []byte) {
	t.Helper()
	var f struct {
		Report    []int  `json:"report"`
		HCLReport string `json:"hcl_report"`
		VCEK      string `json:"vcek"`
	}
	if err := json.Unmarshal(read(t, trusteeAz+name), &f); err != nil {
		t.Fatal(err)
	}
	if f.HCLReport == "" {
		b := make([]byte, len(f.Report))
		for i, n := range f.Report {
			b[i] = byte(n)
		}
		return hcl(b), der(t, []byte(f.VCEK))
	}
	return hcl(unbase64(t, f.HCLReport)), der(t, unbase64(t, f.VCEK))
}

func unbase64(t *testing.T, s string) []byte {
	t.Helper()
	s = strings.TrimRight(strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimSpace(s)), "=")
	b, err := base64.RawStdEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// pemBlocks returns the certificates of a text that holds PEM among other
// things: those of CAs as a bundle, the last one as DER.
func pemBlocks(t *testing.T, b []byte) (chain, leaf []byte) {
	t.Helper()
	for len(b) > 0 {
		i := bytes.Index(b, []byte("-----BEGIN CERTIFICATE-----"))
		if i < 0 {
			break
		}
		block, rest := pem.Decode(b[i:])
		if block == nil {
			t.Fatal("broken PEM in a vector")
		}
		if bytes.Contains(block.Bytes, []byte("SEV-VCEK")) {
			leaf = block.Bytes
		} else {
			chain = append(chain, pem.EncodeToMemory(block)...)
		}
		b = rest
	}
	return chain, leaf
}

// snpVector is one report with certificates and what is expected of it.
type snpVector struct {
	name    string
	report  func(*testing.T) []byte
	amd     func(*testing.T) *vm.AMDCollateral
	strict  vm.Code // with the strictest policy
	code    vm.Code // with the lenient one; "" is accepted
	status  string
	product string
	say     string    // in the refusal of the lenient policy
	at      time.Time // snpTime
}

// when is the time of the verdict.
func (v snpVector) when() time.Time {
	if v.at.IsZero() {
		return snpTime
	}
	return v.at
}

func certs(ek string, chain ...string) func(*testing.T) *vm.AMDCollateral {
	return func(t *testing.T) *vm.AMDCollateral {
		c := &vm.AMDCollateral{EndorsementKey: der(t, read(t, ek))}
		for _, name := range chain {
			c.Chain = append(c.Chain, read(t, name)...)
		}
		return c
	}
}

func raw(name string) func(*testing.T) []byte {
	return func(t *testing.T) []byte { return read(t, name) }
}

func azureVector(name, product string) snpVector {
	return snpVector{
		name: "Azure vTPM, " + name, strict: vm.CodeCollateral, status: "OutOfDate", product: product,
		report: func(t *testing.T) []byte { report, _ := azureSNP(t, name); return report },
		amd: func(t *testing.T) *vm.AMDCollateral {
			_, vcek := azureSNP(t, name)
			return &vm.AMDCollateral{EndorsementKey: vcek}
		},
	}
}

func secretVMVector(name string) snpVector {
	return snpVector{
		name: "SecretVM, " + name, strict: vm.CodeCollateral, code: vm.CodeCollateral, say: "without the certificate",
		report: func(t *testing.T) []byte { return unbase64(t, string(read(t, "secretvm-verify/test-data/"+name))) },
		amd:    func(*testing.T) *vm.AMDCollateral { return nil },
	}
}

func snpVectors() []snpVector {
	return []snpVector{
		{
			name: "trustee, Milan VCEK", report: raw(trusteeSNP + "test-report.bin"), amd: certs(trusteeSNP + "test-vcek.der"),
			strict: vm.CodeCollateral, status: "OutOfDate", product: "Milan",
		},
		{
			name: "trustee, VLEK", report: raw(trusteeSNP + "test-vlek-report.bin"), amd: certs(trusteeSNP + "test-vlek.der"),
			strict: vm.CodeCollateral, status: "OutOfDate", product: "Milan",
		},
		{
			name: "trustee, altered VCEK in the older form", report: raw(trusteeSNP + "test-report.bin"), amd: certs(trusteeSNP + "test-vcek-invalid-legacy.der"),
			strict: vm.CodeSignature, code: vm.CodeSignature, say: "SEV-VCEK",
		},
		{
			name: "trustee, altered VCEK in the newer form", report: raw(trusteeSNP + "test-report.bin"), amd: certs(trusteeSNP + "test-vcek-invalid-new.der"),
			strict: vm.CodeSignature, code: vm.CodeSignature, say: "SEV-VCEK",
		},
		{
			name: "trustee, VLEK with the VCEK's report", report: raw(trusteeSNP + "test-report.bin"), amd: certs(trusteeSNP + "test-vlek.der"),
			strict: vm.CodeCollateral, code: vm.CodeCollateral, say: "another kind of key",
		},
		{
			name: "virtee, Milan", report: func(t *testing.T) []byte { return readHex(t, virteeSEV+"report_milan.hex") },
			amd: certs(virteeSEV+"vcek_milan.der", virteeSEV+"cert_chain_milan"), strict: vm.CodeCollateral, status: "OutOfDate", product: "Milan",
		},
		{
			name: "virtee, altered", report: func(t *testing.T) []byte {
				b := readHex(t, virteeSEV+"report_milan.hex")
				b[0x90] ^= 1
				return b
			},
			amd: certs(virteeSEV+"vcek_milan.der", virteeSEV+"cert_chain_milan"), strict: vm.CodeCollateral, code: vm.CodeSignature, say: "signature of the report",
		},
		{
			name: "virtee, Milan report with a Turin chip's certificate", report: func(t *testing.T) []byte { return readHex(t, virteeSEV+"report_milan.hex") },
			amd: certs(virteeSEV+"vcek_turin.der", virteeSEV+"cert_chain_turin"), strict: vm.CodeCollateral, code: vm.CodeCollateral, say: "another",
		},
		{
			name: "virtee, chain of Turin", report: func(t *testing.T) []byte { return readHex(t, virteeSEV+"report_milan.hex") },
			amd: certs(virteeSEV+"vcek_milan.der", virteeSEV+"cert_chain_turin"), strict: vm.CodeChain, code: vm.CodeChain, say: "CA of something else",
		},
		{
			name: "go-sev-guest, debug", report: raw(goSEV + "attestation.bin"), amd: certs(goSEV+"vcek.testcer", goSEV+"milan.testcer"),
			strict: vm.CodeCollateral, code: vm.CodeDebug, say: "under debug",
		},
		{
			name: "dstack, Milan", report: func(t *testing.T) []byte { return read(t, dstackSNP+"sev_snp_attestation.bin")[4:][:snp.ReportSize] },
			amd: certs(dstackSNP+"sev_snp_vcek.pem", dstackSNP+"sev_snp_ask.pem"), at: dstackTime, strict: vm.CodeCollateral, status: "OutOfDate", product: "Milan",
		},
		{
			name:   "dstack, with its certificates inside",
			report: func(t *testing.T) []byte { return dstackFixture(t)[4:][:snp.ReportSize] },
			amd: func(t *testing.T) *vm.AMDCollateral {
				chain, leaf := pemBlocks(t, dstackFixture(t))
				return &vm.AMDCollateral{EndorsementKey: leaf, Chain: chain}
			},
			at: dstackTime, strict: vm.CodeCollateral, status: "OutOfDate", product: "Milan",
		},
		{
			name: "Azure container instance", report: raw(sidecar + "snp_report.bin"),
			amd: func(t *testing.T) *vm.AMDCollateral {
				chain, leaf := pemBlocks(t, read(t, sidecar+"uvm_host_amd_certificate.pem"))
				return &vm.AMDCollateral{EndorsementKey: leaf, Chain: chain}
			},
			strict: vm.CodeCollateral, status: "OutOfDate", product: "Milan",
		},
		{
			name: "Azure paravisor with a TDX report inside", report: func(t *testing.T) []byte {
				return hcl(read(t, "azure-cvm-attestation-tools/cvm-attestation/tests/reports/snp_hcl_report.bin"))
			},
			amd: certs(trusteeSNP + "test-vcek.der"), strict: vm.CodeMalformed, code: vm.CodeMalformed, say: "version that is not known",
		},
		azureVector("evidence-v0.json", "Milan"), azureVector("evidence-v1.json", "Milan"),
		azureVector("evidence-v2.json", "Milan"), azureVector("evidence-genoa.json", "Genoa"),
		secretVMVector("amd_cpu_quote.txt"), secretVMVector("amd_cpu_docker_check_quote.txt"),
	}
}

func dstackFixture(t *testing.T) []byte {
	t.Helper()
	var f struct{ Attestation string }
	if err := json.Unmarshal(read(t, "dstack/dstack/verifier/fixtures/sev-snp-attestation.json"), &f); err != nil {
		t.Fatal(err)
	}
	return unhex(t, f.Attestation)
}

// TestSNPVectors gives every public report its expected verdict, under the
// strictest policy and under one that fits its day.
func TestSNPVectors(t *testing.T) {
	for _, v := range snpVectors() {
		t.Run(v.name, func(t *testing.T) {
			ev := vm.Evidence{TEE: vm.SNP, Quote: v.report(t), AMD: v.amd(t)}
			if _, err := Verify(ev, Options{Time: v.when()}); vm.CodeOf(err) != v.strict {
				t.Errorf("strictly: %v, want %s", err, v.strict)
			}
			verdict, err := Verify(ev, Options{Time: v.when(), Policy: lenient()})
			if v.code != "" {
				if vm.CodeOf(err) != v.code || !strings.Contains(fmt.Sprint(err), v.say) {
					t.Errorf("leniently: %v, want %s with %q", err, v.code, v.say)
				}
				return
			}
			if err != nil {
				t.Fatalf("leniently: %v", err)
			}
			if verdict.TEE != vm.SNP || verdict.TCBStatus != v.status || verdict.SNP.Product != v.product || verdict.Anchor.Vendor != "AMD" {
				t.Errorf("verdict is %s, %s, %s below %s, want %s, %s of AMD's", verdict.TEE, verdict.TCBStatus, verdict.SNP.Product, verdict.Anchor.Vendor, v.status, v.product)
			}
			if v.name != "trustee, VLEK" && len(verdict.HardwareID) != 128 {
				t.Errorf("hardware id is %q", verdict.HardwareID)
			}
			// Without the words OutOfDate in the policy, the refusal says what is short.
			policy := lenient()
			policy.Accept = nil
			_, err = Verify(ev, Options{Time: v.when(), Policy: policy})
			refusal := refused(t, err, vm.CodeTCB)
			if !strings.Contains(refusal.Hint, "SNP firmware has") || !strings.Contains(refusal.Reason, "AMD-SB-30") {
				t.Errorf("out of date: %v, hint %q", refusal, refusal.Hint)
			}
		})
	}
}

// TestSNPVectorFacts looks at what some reports say.
func TestSNPVectorFacts(t *testing.T) {
	verify := func(name string) vm.Verdict {
		for _, v := range snpVectors() {
			if v.name == name {
				verdict, err := Verify(vm.Evidence{TEE: vm.SNP, Quote: v.report(t), AMD: v.amd(t)}, Options{Time: v.when(), Policy: lenient()})
				if err != nil {
					t.Fatal(err)
				}
				return verdict
			}
		}
		t.Fatalf("no vector %q", name)
		return vm.Verdict{}
	}
	aci := verify("Azure container instance")
	if policy := sha256.Sum256(unbase64(t, string(read(t, sidecar+"uvm_security_policy.base64")))); aci.SNP.HostData != policy {
		t.Errorf("HOST_DATA is %x, want the SHA-256 of the container policy, %x", aci.SNP.HostData, policy)
	}
	if aci.SNP.GuestSVN != 2 || aci.SNP.IDKey.IsZero() || !aci.SNP.AuthorKey.IsZero() || aci.SNP.SignedBy != "VCEK" {
		t.Errorf("facts are %+v", aci.SNP)
	}
	dstack := verify("dstack, Milan")
	if got := string(bytes.TrimRight(dstack.ReportData, "\x00")); got != "attest-test-fixture-2026" {
		t.Errorf("report data is %q", got)
	}
	if got := dstack.SNP.Measurement.String(); !strings.HasPrefix(got, "7f51e17f72a0") {
		t.Errorf("measurement is %s", got)
	}
	if got := hex.EncodeToString(dstack.SNP.HostData[:]); !strings.HasPrefix(got, "783f0057820a") {
		t.Errorf("host data is %s", got)
	}
	if dstack.SNP.ReportedTCB == dstack.SNP.CommittedTCB || dstack.SNP.Firmware != "1.55.29" {
		t.Errorf("facts are %+v", dstack.SNP)
	}
	vlek := verify("trustee, VLEK")
	if vlek.SNP.SignedBy != "VLEK" || vlek.SNP.VMPL != 1 || vlek.HardwareID != "" {
		t.Errorf("facts are %+v", vlek.SNP)
	}
	if want := time.Date(2025, 12, 10, 22, 14, 21, 0, time.UTC); !vlek.ValidUntil.Equal(want) {
		t.Errorf("valid until %v, want %v", vlek.ValidUntil, want)
	}
}

// TestSNPRoots compares the roots that are built in with every copy among the
// vectors.
func TestSNPRoots(t *testing.T) {
	known := map[string]bool{}
	for _, root := range snp.Roots() {
		known[string(root.Raw)] = true
	}
	if len(known) != 3 || len(snp.Intermediates()) != 6 {
		t.Fatalf("%d roots and %d issuers are built in, want 3 and 6", len(known), len(snp.Intermediates()))
	}
	for _, name := range []string{
		"virtee-sev/src/certs/snp/builtin/milan/ark.pem", "virtee-sev/src/certs/snp/builtin/genoa/ark.pem", "virtee-sev/src/certs/snp/builtin/turin/ark.pem",
		virteeSEV + "cert_chain_milan", virteeSEV + "cert_chain_turin", sidecar + "uvm_host_amd_certificate.pem",
		"go-sev-guest/verify/trust/ask_ark_milan.pem", "go-sev-guest/verify/trust/ask_ark_genoa.pem", "go-sev-guest/verify/trust/ask_ark_turin_vcek.pem",
	} {
		var last []byte
		for block, rest := pem.Decode(read(t, name)); block != nil; block, rest = pem.Decode(rest) {
			last = block.Bytes
		}
		if !known[string(last)] {
			t.Errorf("%s: its root is not one that is built in", name)
		}
	}
}
