package verifier

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/verification"
	"github.com/secretvm/secretvm/verification/exhibit"
	"github.com/secretvm/secretvm/verification/machinetest"
	"github.com/secretvm/secretvm/vm"
)

var (
	nonce = bytes.Repeat([]byte{7}, verification.NonceSize)
	key   = vm.HashOf([]byte("key of a connection"))
)

// recorded is a verification of m that went well, as secretvm verify has it.
func recorded(t testing.TB, m *machinetest.Machine) (verification.Answer, verification.Wanted) {
	t.Helper()
	ev, err := m.Quote(t.Context(), vm.AttestationReportData(key, nonce))
	if err != nil {
		t.Fatal(err)
	}
	ev.Events = m.Events
	now := time.Now()
	return verification.Answer{
		URL: "https://vm.example:29343", TLSKey: key, Nonce: nonce, Asked: now, Took: 41 * time.Millisecond, Config: m.Canonical,
		Attestation: vm.Attestation{Nonce: hex.EncodeToString(nonce), TLSKey: key, Evidence: ev},
	}, verification.Wanted{
		Compose: m.Compose, Files: m.Files, Manifest: &m.Manifest, Service: m.Config.Service, Roots: m.Roots(), Time: now,
	}
}

// bundleOf writes the bundle of a verification, with its report.
func bundleOf(t testing.TB, a verification.Answer, w verification.Wanted) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := verification.WriteBundle(&b, a, w, verification.Appraise(a, w)); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// reply is what Run returns, as a caller reads it.
type reply struct {
	Report *struct {
		Verdict string `json:"verdict"`
		Summary string `json:"summary"`
		Soft    bool   `json:"soft"`
		Checks  []struct {
			Name    string      `json:"name"`
			OK      *bool       `json:"ok"`
			What    string      `json:"what"`
			Detail  string      `json:"detail"`
			Code    string      `json:"code"`
			Refusal *vm.Refusal `json:"refusal"`
		} `json:"checks"`
		Warnings []string `json:"warnings"`
	} `json:"report"`
	Text     string           `json:"text"`
	Contents *Contents        `json:"contents"`
	Address  string           `json:"address"`
	Shown    *exhibit.Exhibit `json:"shown"`
	Refusal  *vm.Refusal      `json:"refusal"`
}

func judge(t testing.TB, c Call) reply {
	t.Helper()
	if c.Now.IsZero() {
		c.Now = time.Now()
	}
	var r reply
	if err := json.Unmarshal(Run(c), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// outcome is the verdict, or the code of the refusal.
func (r reply) outcome() string {
	if r.Refusal != nil {
		return string(r.Refusal.Code)
	}
	return r.Report.Verdict
}

func TestBundle(t *testing.T) {
	m := machinetest.Boot(t)
	a, w := recorded(t, m)
	whole := bundleOf(t, a, w)
	bare := bundleOf(t, a, verification.Wanted{Roots: w.Roots, Time: w.Time})
	manifest, err := m.Manifest.Encode()
	if err != nil {
		t.Fatal(err)
	}
	trusted := []byte("yes")
	for _, c := range []struct {
		name   string
		bundle []byte
		fields map[string][]byte
		want   string
		text   string // in the lines
	}{
		{"S1 its own root is not trusted", whole, nil, verification.NotVerified, "untrusted-chain"},
		{"its root, ticked", whole, map[string][]byte{"trust_bundle_roots": trusted}, verification.Verified, "SOFT TEE"},
		{"its root, named", whole, map[string][]byte{"roots": m.PKI.RootPEM()}, verification.Verified, "SOFT TEE"},
		{"another root", whole, map[string][]byte{"roots": machinetest.Boot(t).PKI.RootPEM()}, verification.NotVerified, "untrusted-chain"},
		{"another compose file", whole, map[string][]byte{"trust_bundle_roots": trusted, "compose": []byte("other")}, verification.NotVerified, "compose-mismatch"},
		{"another service", whole, map[string][]byte{"trust_bundle_roots": trusted, "service": []byte("a/b")}, verification.NotVerified, "config-mismatch"},
		{"nothing to compare with", bare, map[string][]byte{"trust_bundle_roots": trusted}, verification.UnverifiedWorkload, "--compose"},
		{"the caller's comparisons", bare, map[string][]byte{"trust_bundle_roots": trusted, "compose": m.Compose, "manifest": manifest}, verification.Verified, ""},
		{"a policy", whole, map[string][]byte{"trust_bundle_roots": trusted, "policy": []byte("version: 1\nworkload:\n  compose_sha256: " + vm.HashOf(m.Compose).String() + "\n"), "manifest": manifest}, verification.Verified, ""},
		{"a policy that names files", whole, map[string][]byte{"trust_bundle_roots": trusted, "policy": []byte("version: 1\nworkload:\n  compose: x/compose.yaml\nimage:\n  manifest: y\n"), "compose": m.Compose, "manifest": manifest}, verification.Verified, ""},
		{"a policy that names a file which is not here", whole, map[string][]byte{"policy": []byte("version: 1\nworkload:\n  compose: /etc/passwd\n")}, "invalid", ""},
		{"a policy that wants a connection", whole, map[string][]byte{"trust_bundle_roots": trusted, "policy": []byte("version: 1\nfreshness:\n  required: true\n")}, verification.NotVerified, "stale"},
		{"a policy of another schema", whole, map[string][]byte{"policy": []byte("version: 1\nwrokload: {}\n")}, "invalid", ""},
		{"wishes of two people are not mixed", whole, map[string][]byte{"trust_bundle_roots": trusted, "compose": m.Compose}, verification.UnverifiedWorkload, "--manifest"},
		{"long ago", whole, map[string][]byte{"trust_bundle_roots": trusted, "time": []byte("2020-01-01T00:00:00Z")}, verification.NotVerified, "expired"},
		{"cut", whole[:len(whole)-100], nil, "malformed", ""},
		{"not a bundle", []byte("hello"), nil, "malformed", ""},
		{"nothing", nil, nil, "malformed", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := judge(t, Call{Operation: "bundle", Input: c.bundle, Fields: c.fields})
			if got := r.outcome(); got != c.want || !strings.Contains(r.Text, c.text) {
				t.Errorf("%s, want %s with %q: %+v\n%s", got, c.want, c.text, r.Refusal, r.Text)
			}
		})
	}
	r := judge(t, Call{Operation: "contents", Input: whole})
	if r.Contents == nil || len(r.Contents.Roots) != 1 || r.Contents.Roots[0].SHA256 != vm.HashOf(m.PKI.Root.Cert.Raw) ||
		strings.Join(r.Contents.Compares, ", ") != "compose file, image manifest, service svm1owner/guestbook" {
		t.Errorf("contents: %+v", r.Contents)
	}
}

func TestShow(t *testing.T) {
	m := machinetest.Boot(t)
	a, w := recorded(t, m)
	for name, input := range map[string][]byte{"bundle": bundleOf(t, a, w), "quote": a.Attestation.Evidence.Quote, "certificate": m.PKI.RootPEM()} {
		r := judge(t, Call{Operation: "show", Input: input})
		if r.Shown == nil || len(r.Shown.Sections) == 0 {
			t.Errorf("%s: %+v", name, r)
		}
	}
	if r := judge(t, Call{Operation: "show", Input: []byte("anything")}); r.Refusal == nil || r.Refusal.Code != vm.CodeMalformed {
		t.Errorf("no form of evidence: %+v", r.Refusal)
	}
}

// TestCallIsBounded: what is no operation, no option or over its bound is
// refused before it is looked at.
func TestCallIsBounded(t *testing.T) {
	for _, c := range []struct {
		name string
		call Call
		want vm.Code
	}{
		{"no operation", Call{}, vm.CodeInvalid},
		{"unheard-of operation", Call{Operation: "x"}, vm.CodeInvalid},
		{"unheard-of option", Call{Operation: "bundle", Fields: map[string][]byte{"x": nil}}, vm.CodeInvalid},
		{"large input", Call{Operation: "bundle", Input: make([]byte, MaxInput+1)}, vm.CodeTooLarge},
		{"large option", Call{Operation: "bundle", Fields: map[string][]byte{"service": make([]byte, MaxField("service")+1)}}, vm.CodeTooLarge},
		{"answer without a nonce", Call{Operation: "answer", Input: []byte("{}")}, vm.CodeInvalid},
		{"answer that is none", Call{Operation: "answer", Input: []byte("[]")}, vm.CodeMalformed},
		{"plain http", Call{Operation: "address", Input: []byte("http://vm.example")}, vm.CodeInvalid},
		{"a reason that is none", Call{Operation: "unanswered", Input: []byte("?"), Fields: map[string][]byte{"url": []byte("vm.example")}}, vm.CodeInvalid},
	} {
		r := judge(t, c.call)
		if r.Refusal == nil || r.Refusal.Code != c.want {
			t.Errorf("%s: %+v, want %s", c.name, r.Refusal, c.want)
		}
	}
	for name, want := range map[string]int{"collateral": 1 << 20, "collateral_4": 1 << 20, "collateral_5": 0, "collateral_02": 0, "compose_2": 0, "registry_1": 0, "took_ms": 16} {
		if got := MaxField(name); got != want {
			t.Errorf("MaxField(%q) = %d, want %d", name, got, want)
		}
	}
	if r := judge(t, Call{Operation: "address", Input: []byte(" vm.example ")}); r.Address != "https://vm.example:29343" {
		t.Errorf("address: %+v", r)
	}
}

// TestPanicIsARefusal: a bug in the verifier must not look like a verdict, nor
// end the program.
func TestPanicIsARefusal(t *testing.T) {
	operations["panic"] = func(Call) (result, error) { panic("a bug") }
	defer delete(operations, "panic")
	if r := judge(t, Call{Operation: "panic"}); r.Refusal == nil || r.Refusal.Code != vm.CodeInternal {
		t.Errorf("%+v", r)
	}
}

func TestWishesAreChecked(t *testing.T) {
	a, w := recorded(t, machinetest.Boot(t))
	bundle := bundleOf(t, a, w)
	for name, value := range map[string]string{
		"compose": "", "files": "", "policy": "", "collateral": "{", "registry": "{", "manifest": "{}", "roots": "no certificate", "group_key": "8a", "time": "yesterday",
	} {
		r := judge(t, Call{Operation: "bundle", Input: bundle, Fields: map[string][]byte{name: []byte(value)}})
		if r.Refusal == nil || r.Refusal.Code != vm.CodeInvalid && r.Refusal.Code != vm.CodeMalformed {
			t.Errorf("%s %q: %+v", name, value, r.Refusal)
		}
	}
}

// FuzzRun: whatever is dropped on the page, one JSON document comes back, and
// VERIFIED never does: no input here ends in a root that was accepted.
func FuzzRun(f *testing.F) {
	a, w := recorded(f, machinetest.Boot(f))
	for _, seed := range [][]byte{nil, []byte("{}"), []byte("PK\x03\x04"), bundleOf(f, a, w)} {
		for operation := range operations {
			f.Add(operation, seed, "compose", []byte("x"))
		}
	}
	f.Fuzz(func(t *testing.T, operation string, input []byte, name string, value []byte) {
		r := judge(t, Call{Operation: operation, Input: input, Fields: map[string][]byte{name: value}})
		if r.Report != nil && r.Report.Verdict == verification.Verified {
			t.Error("VERIFIED")
		}
		if r.Report == nil && r.Contents == nil && r.Address == "" && r.Shown == nil && r.Refusal == nil {
			t.Error("an empty result")
		}
	})
}
