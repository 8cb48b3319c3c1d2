package attest

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/attest/tdx"
	"github.com/secretvm/secretvm/vm"
)

// vectors is the folder of independent test vectors, beside the repository.
// Each of its folders has a PROVENANCE.md with the expected verdicts.
const vectors = "../../shared/vectors"

// Files of the vectors that appear in several rows.
const (
	dcap    = "dcap-qvl/sample/"
	near    = "dcap-qvl/tests/near/contracts/gas-test/tests/quote/"
	kms     = "secret-vm-kms/"
	verify  = "secretvm-verify/test-data/"
	trustee = "trustee/deps/verifier/test_data/"
	google  = "go-tdx-guest/testing/testdata/"
	azure   = "azure-cvm-attestation-tools/cvm-attestation/tests/reports/"
	intel   = "intel-qvl/Src/AttestationApp/sampleData/tdx/"
)

func TestVectors(t *testing.T) {
	sapphire, outdated := dcapCollateral(t, dcap+"tdx_quote_collateral.json"), dcapCollateral(t, dcap+"tdx_quote_outdated_collateral.json")
	april := kmsCollateral(t, kms+"kms-python-tests/quote_and_collateral/collateral.txt") // with Intel's first TCB signer
	in2023 := with(april, vm.Collateral{
		PCKCRL: read(t, google+"pckcrl"), RootCACRL: read(t, google+"rootcrl.der"),
		TCBInfo: read(t, google+"sample_tcbInfo_response"), QEIdentity: read(t, google+"sample_qeIdentity_response"),
	})
	in2026 := with(outdated, vm.Collateral{TCBInfo: read(t, google+"sample_tcbinfo_response_v5")})
	june := time.Date(2025, 7, 1, 0, 0, 0, 0, time.UTC)
	feb2026 := time.Date(2026, 2, 20, 0, 0, 0, 0, time.UTC)
	july2023 := time.Date(2023, 7, 1, 1, 0, 0, 0, time.UTC)

	for _, row := range []struct {
		name       string
		quote      []byte
		collateral *vm.Collateral
		at         time.Time
		policy     Policy
		want       string // "UpToDate" or a refusal code
		wantText   string // part of the refusal
	}{
		{"dcap-qvl tdx_quote", read(t, dcap+"tdx_quote"), sapphire, june, Policy{}, "UpToDate", ""},
		{"dcap-qvl tdx_quote, a day too late", read(t, dcap+"tdx_quote"), sapphire, june.AddDate(0, 0, 19), Policy{}, "expired", "has expired"},
		{"dcap-qvl tdx_quote, a day too early", read(t, dcap+"tdx_quote"), sapphire, june.AddDate(0, 0, -13), Policy{}, "expired", "not valid yet"},
		{"dcap-qvl tdx-quote.hex", readHex(t, dcap+"tdx-quote.hex"), sapphire, june, Policy{}, "tcb-not-accepted", "not listed"},
		{"dcap-qvl quote-from-tappd.hex", readHex(t, dcap+"quote-from-tappd.hex"), sapphire, june, Policy{}, "tcb-not-accepted", "not listed"},
		{"dcap-qvl tdx_quote_outdated (v5)", read(t, dcap+"tdx_quote_outdated"), outdated, feb2026, Policy{}, "tcb-not-accepted", "not listed"},
		{"dcap-qvl sgx_quote, called TDX", read(t, dcap+"sgx_quote"), sapphire, june, Policy{}, "malformed", "version is 3"},
		{"dcap-qvl near gas test", readHex(t, near+"quote_hex.txt"), dcapCollateral(t, near+"quote_collateral.json"), time.Date(2025, 9, 10, 0, 0, 0, 0, time.UTC), Policy{}, "UpToDate", ""},
		// These two platforms were certified half a year after the only collateral
		// of their family ended: TestVectorStages looks at each half at its time.
		{"secretvm-verify cpu_quote", readHex(t, verify+"cpu_quote.txt"), sapphire, june, Policy{}, "expired", "PCK Certificate is not valid yet"},
		{"secretvm-verify tdx_cpu_docker_check", readHex(t, verify+"tdx_cpu_docker_check_quote.txt"), sapphire, june, Policy{}, "expired", "PCK Certificate is not valid yet"},
		{"secret-vm-kms tests", readHex(t, kms+"tests/quote.txt"), kmsCollateral(t, kms+"tests/collateral.txt"), time.Date(2025, 5, 20, 0, 0, 0, 0, time.UTC), Policy{}, "UpToDate", ""},
		{"secret-vm-kms python", readHex(t, kms+"kms-python-tests/quote_and_collateral/quote.txt"), april, time.Date(2025, 4, 20, 0, 0, 0, 0, time.UTC), Policy{}, "UpToDate", ""},
		{"go-tdx-guest quote_v5_sample", read(t, google+"quote_v5_sample.dat"), in2026, feb2026, Policy{}, "UpToDate", ""},
		{"go-tdx-guest SPR_E4, as captured", read(t, google+"tdx_prod_quote_SPR_E4.dat"), in2023, july2023, Policy{}, "malformed", "behind the signature data"},
		{"go-tdx-guest SPR_E4, strict", bytes.TrimSuffix(read(t, google+"tdx_prod_quote_SPR_E4.dat"), extra), in2023, july2023, Policy{}, "attributes", ""},
		{"go-tdx-guest SPR_E4, attributes allowed", bytes.TrimSuffix(read(t, google+"tdx_prod_quote_SPR_E4.dat"), extra), in2023, july2023, Policy{Attributes: tdx.AttributePKS, SEPTVE: true}, "tcb-not-accepted", "not listed"},
		{"B5 trustee tdx_quote_4 is under debug", read(t, trustee+"tdx_quote_4.dat"), in2023, july2023, Policy{}, "debug", ""},
		{"trustee tdx_quote_5 (service TD)", read(t, trustee+"tdx_quote_5.dat"), outdated, feb2026, Policy{}, "attributes", "MRSERVICETD"},
		{"trustee tdx_quote_6, other platform's collateral", read(t, trustee+"tdx_quote_6.dat"), sapphire, june, Policy{}, "collateral", "FMSPC"},
		{"cc-api non-production root", read(t, "cc-api-evidence/common/golang/evidence_api/test_data/quote.bin"), sapphire, june, Policy{}, "untrusted-chain", ""},
		{"intel-qvl, DER instead of a chain", read(t, intel+"quote.dat"), sapphire, june, Policy{}, "malformed", "plain PEM"},
		{"intel-qvl test root", intelSample(t), sapphire, june, Policy{}, "untrusted-chain", ""},
		{"no collateral", read(t, dcap+"tdx_quote"), nil, june, Policy{}, "collateral", "without collateral"},
	} {
		t.Run(row.name, func(t *testing.T) {
			verdict, err := bothWays(t, vm.Evidence{TEE: vm.TDX, Quote: row.quote, Collateral: row.collateral}, Options{Time: row.at, Policy: row.policy})
			found := verdict.TCBStatus
			if err != nil {
				found = string(vm.CodeOf(err))
			}
			if found != row.want || (err != nil && !strings.Contains(err.Error(), row.wantText)) {
				t.Fatalf("verdict %s (%v), want %s %q", found, err, row.want, row.wantText)
			}
			if err == nil && (!verdict.Anchor.Intel || verdict.TEE != vm.TDX || !verdict.ValidUntil.After(row.at) || verdict.Evaluation < 16) {
				t.Errorf("verdict %+v, want Intel's anchor and a validity after %v", verdict, row.at)
			}
			t.Logf("%s: %v", found, err)
		})
	}
}

// extra is what somebody left behind the quote in go-tdx-guest's sample.
var extra = []byte("\nextra bytes(only for testing purpose)\n")

// TestIntelRoot holds the embedded root to the one that genuine quotes carry.
func TestIntelRoot(t *testing.T) {
	const der = "44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3"
	const spki = "a0af031289f5d5d4132f9186068a7fc13628633ba235777472e29b6b6c67a49e"
	root := IntelRoot()
	if vm.HashOf(root.Raw).String() != der || vm.HashOf(root.RawSubjectPublicKeyInfo).String() != spki {
		t.Errorf("embedded root is not Intel's: %v", root.Subject)
	}
	if err := root.CheckSignatureFrom(root); err != nil {
		t.Error(err)
	}
	quote, err := tdx.Decode(read(t, dcap+"tdx_quote"))
	if err != nil {
		t.Fatal(err)
	}
	embedded, err := os.ReadFile("intel_sgx_root_ca.pem")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(quote.Signature.PCKChain, embedded) {
		t.Error("a genuine quote ends in another root")
	}
}
