package verification_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/test/vectors"
	"github.com/secretvm/secretvm/verification"
	"github.com/secretvm/secretvm/verification/machinetest"
	"github.com/secretvm/secretvm/vm"
)

func TestRecognise(t *testing.T) {
	m := machinetest.Boot(t)
	a := answer(t, m, ourKey, ourNonce)
	quote := a.Attestation.Evidence.Quote
	document := func(v any) []byte {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, c := range []struct {
		name  string
		bytes []byte
		form  verification.Form
	}{
		{"attestation", document(a.Attestation), verification.FormAttestation},
		{"evidence", document(a.Attestation.Evidence), verification.FormEvidence},
		{"raw", quote, verification.FormTDX},
		{"hex", []byte(hex.EncodeToString(quote)), verification.FormTDX},
		{"HEX with 0x", []byte("0x" + strings.ToUpper(hex.EncodeToString(quote)) + "\n"), verification.FormTDX},
		{"base64", []byte(base64.StdEncoding.EncodeToString(quote)), verification.FormTDX},
		{"base64 of URLs in quotation marks", []byte(`"` + base64.RawURLEncoding.EncodeToString(quote) + `"`), verification.FormTDX},
		{"dstack", document(map[string]string{"quote": hex.EncodeToString(quote), "event_log": "[]"}), verification.FormDstack},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, form, err := verification.Recognise(c.bytes)
			if err != nil || form != c.form || string(got.Attestation.Evidence.Quote) != string(quote) || got.Connected() {
				t.Errorf("form %q, %v", form, err)
			}
		})
	}
	for name, b := range map[string]string{
		"empty": "", "prose": "hello, world, this is no quote of any kind at all, whatever you do", "number": "{", "other JSON": `{"a":1}`,
		"quote of nothing": `{"quote":"00"}`, "quote a number": `{"quote":1}`, "log a number": `{"quote":"` + hex.EncodeToString(quote) + `","event_log":1}`,
		"zeros": strings.Repeat("0", 5000),
	} {
		if _, form, err := verification.Recognise([]byte(b)); vm.CodeOf(err) != vm.CodeMalformed {
			t.Errorf("%s: form %q, %v", name, form, err)
		}
	}
}

// TestRecogniseVectors: files of other projects, as they are.
func TestRecogniseVectors(t *testing.T) {
	for name, form := range map[string]verification.Form{
		"dcap-qvl/sample/tdx_quote":                                     verification.FormTDX,
		"dcap-qvl/sample/tdx-quote.hex":                                 verification.FormTDX,
		"dcap-qvl/sample/sgx_quote":                                     verification.FormSGX,
		"go-tdx-guest/testing/testdata/quote_v5_sample.dat":             verification.FormTDX,
		"secretvm-verify/test-data/cpu_quote.txt":                       verification.FormTDX,
		"secretvm-verify/test-data/amd_cpu_quote.txt":                   verification.FormSNP,
		"secret-vm-kms/kms-python-tests/quote_and_collateral/quote.txt": verification.FormTDX,
		"go-sev-guest/verify/testdata/attestation.bin":                  verification.FormSNP,
		"trustee/deps/verifier/test_data/snp/test-vlek-report.bin":      verification.FormSNP,
		"azure-sidecar/pkg/attest/test_data/snp_report.bin":             verification.FormSNP,
		"dstack/dstack/verifier/fixtures/quote-report.json":             verification.FormDstack,
		"dstack/dstack/verifier/fixtures/tdx-lite-getquote.json":        verification.FormDstack,
	} {
		if _, got, err := verification.Recognise(vectors.Read(t, name)); err != nil || got != form {
			t.Errorf("%s: %q, %v; want %q", name, got, err, form)
		}
	}
}

// TestParseCollateralVectors: collateral in the forms of other projects makes
// their genuine quotes verify.
func TestParseCollateralVectors(t *testing.T) {
	for _, c := range []struct{ quote, collateral, at string }{
		{"dcap-qvl/sample/tdx_quote", "dcap-qvl/sample/tdx_quote_collateral.json", "2025-07-15T00:00:00Z"},
		{"secret-vm-kms/tests/quote.txt", "secret-vm-kms/tests/collateral.txt", "2025-05-20T00:00:00Z"},
	} {
		a, _, err := verification.Recognise(vectors.Read(t, c.quote))
		if err != nil {
			t.Fatal(err)
		}
		if a.Attestation.Evidence.Collateral, err = verification.ParseCollateral(vectors.Read(t, c.collateral)); err != nil {
			t.Fatal(err)
		}
		at, err := time.Parse(time.RFC3339, c.at)
		if err != nil {
			t.Fatal(err)
		}
		r := verification.Appraise(a, verification.Wanted{Time: at})
		if r.Check("quote").OK != verification.Holds || r.Check("platform").OK != verification.Holds || r.Soft {
			t.Errorf("%s: %s: %s", c.quote, r.Verdict, r.Summary)
		}
	}
}

func FuzzRecognise(f *testing.F) {
	f.Add([]byte(`{"tee":"tdx","quote":"AAAA"}`))
	f.Add([]byte(`{"evidence":{"quote":"AAAA"}}`))
	f.Add([]byte(`{"quote":"00","event_log":"[]"}`))
	f.Add([]byte("BAACAIEAAAAAAAAAk5pyM/ecTKmUCg2zlX8GBw=="))
	f.Add([]byte("040002008100000000000000939a7233f79c4ca9940a0db3957f0607"))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, form, err := verification.Recognise(b)
		if err != nil {
			return
		}
		if form == "" || a.Connected() || a.Recorded {
			t.Errorf("form %q, connected %v", form, a.Connected())
		}
		if r := verification.Appraise(a, verification.Wanted{Time: time.Unix(1750000000, 0)}); r.Verdict == verification.Verified {
			t.Error("verified without wishes")
		}
	})
}

func FuzzParseCollateral(f *testing.F) {
	f.Add([]byte(`{"tcb_info_signature":"00"}`))
	f.Add([]byte(`{"pck_crl":"AAAA"}`))
	f.Add(append([]byte{0x81, 0, 0, 0}, make([]byte, 40)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := verification.ParseCollateral(b); (c == nil) == (err == nil) {
			t.Errorf("%v, %v", c, err)
		}
	})
}
