package verification_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/attest"
	"github.com/secretvm/secretvm/test/vectors"
	"github.com/secretvm/secretvm/verification"
	"github.com/secretvm/secretvm/vm"
)

// A real dstack machine on SEV-SNP, from its attestation alone: AMD's
// certificates are inside, its revocation list is not.
func TestDstackAttestationOnSNP(t *testing.T) {
	a, form, err := verification.Recognise(vectors.Read(t, "dstack/dstack/verifier/fixtures/sev-snp-attestation.json"))
	if err != nil || form != verification.FormContainer {
		t.Fatal(form, err)
	}
	launch, err := vm.ParseRegister("7f51e17f72a04d5422cb2c00998166536019a217376f3aa45a630e59c805a599847ff250dbffcd07e1ba639771d6f05d")
	if err != nil {
		t.Fatal(err)
	}
	compose, err := vm.ParseHash("86e59625be93207bc2351c4d1bba20037cec8e168da6b18f559af5af657b7a23")
	if err != nil {
		t.Fatal(err)
	}
	want := verification.Wanted{Time: time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC), Wishes: verification.Wishes{ComposeHash: &compose, Launch: []vm.Register{launch}}}
	want.Policy.SNP = attest.SNPPolicy{WithoutCRL: true}
	want.Policy.Accept = []string{"OutOfDate"}
	r := verification.Appraise(a, want)
	if r.Verdict != verification.Verified || r.System != verification.SystemDstack ||
		states(r) != "connectiono fresho quote+ platform+ launch+ workload+ configurationo booto" {
		t.Errorf("%s %s: %s", r.Verdict, states(r), r.Summary)
	}
	// The name of its OS image is as good as the digest of its launch.
	want.Wishes.Launch, want.Wishes.RootHash = nil, &vm.Hash{}
	if r := verification.Appraise(a, want); r.Check("launch").Code != vm.CodeImage {
		t.Errorf("another OS image: %+v", r.Check("launch"))
	}
	*want.Wishes.RootHash, err = vm.ParseHash("f69c8e5031ec2b269bbc08839ce02cb98ee255d695626f941f4b37b95946d352")
	if r := verification.Appraise(a, want); err != nil || r.Verdict != verification.Verified || r.Check("launch").OK != verification.Holds {
		t.Errorf("%s %s: %s", r.Verdict, states(r), r.Summary)
	}
	config := a.Served.VMConfig
	a.Served.VMConfig = bytes.Replace(config, []byte("EPYC-v4"), []byte("EPYC-Milan"), 1)
	if r := verification.Appraise(a, want); r.Verdict != verification.NotVerified || r.Check("launch").OK != verification.Fails {
		t.Errorf("described as launched otherwise: %s", states(r))
	}
	a.Served.VMConfig = config
	compose[0] ^= 1
	if r := verification.Appraise(a, want); r.Check("workload").Code != vm.CodeCompose {
		t.Errorf("another application: %+v", r.Check("workload"))
	}
	a.Served.MrConfig = append(bytes.Clone(a.Served.MrConfig), ' ')
	if r := verification.Appraise(a, want); r.Verdict != verification.NotVerified || r.Check("boot").Code != vm.CodeEvents {
		t.Errorf("another document: %s %+v", r.Verdict, r.Check("boot"))
	}
}

// The same for TDX, raw and in JSON: what is recognised is what the quote
// beside its JSON form says.
func TestDstackAttestationOnTDX(t *testing.T) {
	inJSON := vectors.Read(t, "dstack/dstack/verifier/fixtures/tdx-lite-attestation.json")
	text := strings.Split(string(inJSON), `"`)[3]
	raw, ok := verification.DecodeText([]byte(text))
	if !ok {
		t.Fatal("the attestation is not hex")
	}
	beside, _, err := verification.Recognise(vectors.Read(t, "dstack/dstack/verifier/fixtures/tdx-lite-getquote.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range [][]byte{inJSON, raw, []byte(text)} {
		a, form, err := verification.Recognise(b)
		if err != nil || form != verification.FormContainer || !bytes.Equal(a.Attestation.Evidence.Quote, beside.Attestation.Evidence.Quote) || a.Log == nil {
			t.Errorf("%.20q: %s, %v", b, form, err)
		}
	}
	for _, bad := range []string{`{"attestation":5}`, `{"attestation":"zz"}`, `{"attestation":"` + text[:4000] + `"}`} {
		if _, _, err := verification.Recognise([]byte(bad)); vm.CodeOf(err) != vm.CodeMalformed {
			t.Errorf("%.40s: %v", bad, err)
		}
	}
}
