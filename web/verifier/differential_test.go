package verifier

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/attest"
	"github.com/secretvm/secretvm/peer"
	"github.com/secretvm/secretvm/verification"
	"github.com/secretvm/secretvm/vm"
)

// vectors is the folder of independent test vectors, beside the repository.
const vectors = "../../../shared/vectors"

// vector is a quote with the collateral of its time; each is a file of vectors.
type vector struct {
	quote, collateral string
	at                time.Time
}

func day(year int, month time.Month, day int) time.Time {
	return time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
}

const (
	sapphire = "dcap-qvl/sample/tdx_quote_collateral.json"
	outdated = "dcap-qvl/sample/tdx_quote_outdated_collateral.json"
	near     = "dcap-qvl/tests/near/contracts/gas-test/tests/quote/"
	kms      = "secret-vm-kms/"
)

var tdxVectors = []vector{
	{"dcap-qvl/sample/tdx_quote", sapphire, day(2025, 7, 1)},
	{"dcap-qvl/sample/tdx_quote", sapphire, day(2025, 7, 20)}, // a day too late
	{"dcap-qvl/sample/tdx_quote", sapphire, day(2025, 6, 18)}, // a day too early
	{"dcap-qvl/sample/tdx_quote", outdated, day(2026, 2, 20)}, // of another platform
	{"dcap-qvl/sample/tdx_quote", "", day(2025, 7, 1)},
	{"dcap-qvl/sample/tdx-quote.hex", sapphire, day(2025, 7, 1)},
	{"dcap-qvl/sample/quote-from-tappd.hex", sapphire, day(2025, 7, 1)},
	{"dcap-qvl/sample/tdx_quote_outdated", outdated, day(2026, 2, 20)},
	{"dcap-qvl/sample/sgx_quote", sapphire, day(2025, 7, 1)},
	{near + "quote_hex.txt", near + "quote_collateral.json", day(2025, 9, 10)},
	{"secretvm-verify/test-data/cpu_quote.txt", sapphire, day(2025, 7, 1)},
	{"secretvm-verify/test-data/tdx_cpu_docker_check_quote.txt", sapphire, day(2025, 7, 1)},
	{kms + "tests/quote.txt", kms + "tests/collateral.txt", day(2025, 5, 20)},
	{kms + "kms-python-tests/quote_and_collateral/quote.txt", kms + "kms-python-tests/quote_and_collateral/collateral.txt", day(2025, 4, 20)},
	{"go-tdx-guest/testing/testdata/quote_v5_sample.dat", outdated, day(2026, 2, 20)},
	{"go-tdx-guest/testing/testdata/tdx_prod_quote_SPR_E4.dat", sapphire, day(2025, 7, 1)},
	{"trustee/deps/verifier/test_data/tdx_quote_4.dat", sapphire, day(2025, 7, 1)},
	{"trustee/deps/verifier/test_data/tdx_quote_5.dat", outdated, day(2026, 2, 20)},
	{"trustee/deps/verifier/test_data/tdx_quote_6.dat", sapphire, day(2025, 7, 1)},
	{"cc-api-evidence/common/golang/evidence_api/test_data/quote.bin", sapphire, day(2025, 7, 1)},
	{"intel-qvl/Src/AttestationApp/sampleData/tdx/quote.dat", sapphire, day(2025, 7, 1)},
}

// TestWebAssemblyDecidesAsNativeCode judges every TDX vector at its time, and
// each with one byte of it changed, in both: equal reports, every field.
func TestWebAssemblyDecidesAsNativeCode(t *testing.T) {
	if _, err := os.Stat(vectors); err != nil {
		t.Skipf("independent vectors are not at %s: skipped", vectors)
	}
	inEngines(t, func(t *testing.T, call engine) {
		outcomes := map[string]int{}
		for i, v := range tdxVectors {
			ev := v.evidence(t)
			compare(t, call, v, ev, outcomes)
			ev.Quote[(i*7919+700)%len(ev.Quote)] ^= 0x10
			compare(t, call, v, ev, outcomes)
		}
		t.Logf("outcomes: %v", outcomes)
		if outcomes[verification.UnverifiedWorkload] < 4 || len(outcomes) < 6 {
			t.Errorf("the vectors no longer reach accepted quotes and several refusals: %v", outcomes)
		}
	})
}

func compare(t *testing.T, call engine, v vector, ev vm.Evidence, outcomes map[string]int) {
	t.Helper()
	document, err := json.Marshal(ev)
	if err != nil {
		t.Fatal(err)
	}
	got := call(t, request{"verifyEvidence", document, map[string]any{"time": v.at}})
	answer, _, err := verification.Recognise(document)
	if err != nil { // both refuse to make a report of it
		if code := vm.CodeOf(err); got.Refusal == nil || got.Refusal.Code != code {
			t.Errorf("%s: WebAssembly says %s, native code refuses: %v", v.quote, got.Thrown, err)
		}
		outcomes["no evidence"]++
		return
	}
	report := verification.Appraise(answer, verification.Wanted{Time: v.at})
	same(t, v.quote, got, report)
	outcome := report.Verdict
	for _, c := range report.Checks {
		if c.Code != "" {
			outcome = string(c.Code)
			break
		}
	}
	outcomes[outcome]++
}

// TestWebAssemblyOnOtherKinds judges an SEV-SNP report, whose TCB versions are
// larger than JavaScript's numbers, from a bundle with a policy for its age.
func TestWebAssemblyOnOtherKinds(t *testing.T) {
	if _, err := os.Stat(vectors); err != nil {
		t.Skipf("independent vectors are not at %s: skipped", vectors)
	}
	ev, want := snpVector(t)
	bundle := bundleOf(t, verification.Answer{Attestation: vm.Attestation{Evidence: ev}}, want)
	answer, recorded, err := verification.OpenBundle(bundle)
	if err != nil {
		t.Fatal(err)
	}
	report := verification.Appraise(answer, recorded)
	if report.Machine == nil || report.Machine.SNP == nil || report.Machine.SNP.ReportedTCB < 1<<53 {
		t.Errorf("the vector is no longer accepted, or small: %+v", report)
	}
	// The certificate may also come in a file of its own.
	bare, _, err := verification.Recognise(ev.Quote)
	if err != nil {
		t.Fatal(err)
	}
	bare.Attestation.Evidence.AMD = ev.AMD
	strict := verification.Appraise(bare, verification.Wanted{Time: want.Time})
	if code := strict.Checks[2].Code; code != vm.CodeCollateral { // no revocation list
		t.Errorf("without a revocation list: %q, want %s", code, vm.CodeCollateral)
	}
	inEngines(t, func(t *testing.T, call engine) {
		same(t, "SEV-SNP", call(t, request{"verifyBundle", bundle, nil}), report)
		same(t, "SEV-SNP, certificate apart", call(t, request{"verifyEvidence", ev.Quote, map[string]any{
			"time": want.Time, "collateral": ev.AMD.EndorsementKey,
		}}), strict)
	})
}

// snpVector is a genuine SEV-SNP report with its certificate, and the policy
// that accepts it: no revocation list came along.
func snpVector(t testing.TB) (vm.Evidence, verification.Wanted) {
	t.Helper()
	const folder = "trustee/deps/verifier/test_data/snp/"
	return vm.Evidence{
		TEE: vm.SNP, Quote: vectorBytes(t, folder+"test-report.bin"),
		AMD: &vm.AMDCollateral{EndorsementKey: vectorBytes(t, folder+"test-vcek.der")},
	}, verification.Wanted{Time: day(2025, 6, 1), Policy: attest.Policy{
		Accept: []string{"OutOfDate"}, SNP: attest.SNPPolicy{VMPL: 1, WithoutCRL: true},
	}}
}

// TestWebAssemblyOnOtherSystems judges a bare quote, with collateral beside it,
// as a machine of existing SecretVM: no image of the registry is this one.
func TestWebAssemblyOnOtherSystems(t *testing.T) {
	if _, err := os.Stat(vectors); err != nil {
		t.Skipf("independent vectors are not at %s: skipped", vectors)
	}
	v := tdxVectors[0]
	signed, err := os.ReadFile(filepath.Join(vectors, v.collateral))
	if err != nil {
		t.Fatal(err)
	}
	known := vectorBytes(t, "secretvm-verify/artifacts_registry/tdx.csv")
	answer, _, err := verification.Recognise(vectorBytes(t, v.quote))
	if err != nil {
		t.Fatal(err)
	}
	if answer.Attestation.Evidence.Collateral, err = verification.ParseCollateral(signed); err != nil {
		t.Fatal(err)
	}
	registry, err := peer.ParseRegistry(known)
	if err != nil {
		t.Fatal(err)
	}
	report := verification.Appraise(answer, verification.Wanted{Time: v.at, Registry: registry})
	if report.Verdict != verification.NotVerified || report.System == "" {
		t.Errorf("%s %q, want a miss in the registry", report.Verdict, report.System)
	}
	inEngines(t, func(t *testing.T, call engine) {
		same(t, "registry", call(t, request{"verifyEvidence", vectorBytes(t, v.quote), map[string]any{
			"time": v.at, "collateral": signed, "registry": known,
		}}), report)
	})
}

func (v vector) evidence(t testing.TB) vm.Evidence {
	t.Helper()
	ev := vm.Evidence{TEE: vm.TDX, Quote: vectorBytes(t, v.quote)}
	if v.collateral != "" {
		b, err := os.ReadFile(filepath.Join(vectors, v.collateral))
		if err == nil {
			ev.Collateral, err = verification.ParseCollateral(b)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return ev
}

// vectorBytes reads a file, as hexadecimal where it is text of that kind.
func vectorBytes(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(vectors, name))
	if err != nil {
		t.Fatal(err)
	}
	if raw, err := hex.DecodeString(strings.TrimPrefix(strings.Trim(string(b), "\"\r\n "), "0x")); err == nil {
		return raw
	}
	return b
}
