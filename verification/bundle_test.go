package verification_test

import (
	"archive/zip"
	"bytes"
	"crypto/x509"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/peer"
	"github.com/secretvm/secretvm/test/vectors"
	"github.com/secretvm/secretvm/verification"
	"github.com/secretvm/secretvm/verification/machinetest"
	"github.com/secretvm/secretvm/vm"
)

// bundle verifies m and writes what it took.
func bundle(t testing.TB, a verification.Answer, want verification.Wanted) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := verification.WriteBundle(&b, a, want, verification.Appraise(a, want)); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestBundleRepeatsTheVerdict: the same checks, at the recorded time, and equal
// inputs give equal bytes.
func TestBundleRepeatsTheVerdict(t *testing.T) {
	m := machinetest.Boot(t, func(s *machinetest.Spec) { s.Files = []byte("an archive") })
	a, want := answer(t, m, ourKey, ourNonce), everything(m)
	a.Asked = want.Time
	first := verification.Appraise(a, want)
	b := bundle(t, a, want)
	if again := bundle(t, a, want); !bytes.Equal(b, again) {
		t.Error("equal inputs give other bytes")
	}
	opened, wanted, err := verification.OpenBundle(b)
	if err != nil {
		t.Fatal(err)
	}
	if !wanted.Time.Equal(want.Time) || !opened.Recorded || len(wanted.Roots) != 0 || len(wanted.BundleRoots) != 1 {
		t.Errorf("time %s, recorded %v, %d roots, %d of the bundle", wanted.Time, opened.Recorded, len(wanted.Roots), len(wanted.BundleRoots))
	}
	wanted.Roots = wanted.BundleRoots
	second := verification.Appraise(opened, wanted)
	if second.Verdict != first.Verdict || len(second.Checks) != len(first.Checks) {
		t.Fatalf("%s (%s), was %s", second.Verdict, second.Summary, first.Verdict)
	}
	for i, c := range second.Checks {
		if c.Name != first.Checks[i].Name || c.OK != first.Checks[i].OK {
			t.Errorf("%s is %v, was %v", c.Name, c.OK, first.Checks[i].OK)
		}
	}
	// At another moment the same evidence may be out of date.
	wanted.Time = want.Time.AddDate(50, 0, 0)
	if late := verification.Appraise(opened, wanted); late.Verdict != verification.NotVerified || late.Check("quote").Code != vm.CodeExpired {
		t.Errorf("50 years later: %s", late.Summary)
	}
}

// TestS1_BundleBringsNoRoot: a bundle of a soft machine, which carries the root
// that its maker trusted, is refused until the caller names that root.
func TestS1_BundleBringsNoRoot(t *testing.T) {
	m := machinetest.Boot(t)
	a, want, err := verification.OpenBundle(bundle(t, answer(t, m, ourKey, ourNonce), everything(m)))
	if err != nil {
		t.Fatal(err)
	}
	if r := verification.Appraise(a, want); r.Verdict != verification.NotVerified || r.Check("quote").Code != vm.CodeChain {
		t.Errorf("%s: %s", r.Verdict, r.Summary)
	}
	want.Roots = []*x509.Certificate{machinetest.Boot(t).PKI.Root.Cert}
	if r := verification.Appraise(a, want); r.Verdict != verification.NotVerified {
		t.Errorf("another root: %s: %s", r.Verdict, r.Summary)
	}
}

// TestV2_BundleSaysWhoseWishes: a verdict over the comparisons of whoever made
// the bundle is not one about "your" file.
func TestV2_BundleSaysWhoseWishes(t *testing.T) {
	m := machinetest.Boot(t)
	a, want, err := verification.OpenBundle(bundle(t, answer(t, m, ourKey, ourNonce), everything(m)))
	if err != nil {
		t.Fatal(err)
	}
	want.Roots = m.Roots()
	r := verification.Appraise(a, want)
	var text strings.Builder
	if err := r.WriteText(&text, false); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(text.String(), "yours") || strings.Contains(text.String(), "your compose") || !strings.Contains(text.String(), "bundle") {
		t.Errorf("the report of a bundle:\n%s", &text)
	}
	want.Compose = []byte("mine")
	if r := verification.Appraise(a, want); r.Check("workload").Code != vm.CodeCompose {
		t.Errorf("another compose file: %s", r.Summary)
	}
}

// TestK8_BundlesAreBounded: truncated, doubled, oversized and foreign entries.
func TestK8_BundlesAreBounded(t *testing.T) {
	m := machinetest.Boot(t)
	good := bundle(t, answer(t, m, ourKey, ourNonce), everything(m))
	for _, c := range []struct {
		name    string
		bytes   []byte
		code    vm.Code
		wantErr string
	}{
		{"nothing", nil, vm.CodeMalformed, "zip"},
		{"no zip", []byte("services: {}"), vm.CodeMalformed, "zip"},
		{"cut", good[:len(good)-30], vm.CodeMalformed, "zip"},
		{"empty zip", rezip(t, good, func(string) bool { return false }, nil), vm.CodeMalformed, "no answer.json"},
		{"no wanted", rezip(t, good, func(n string) bool { return n != "wanted.json" }, nil), vm.CodeMalformed, "no wanted.json"},
		{"unknown entry", rezip(t, good, nil, map[string]string{"../../etc/passwd": "x"}), vm.CodeMalformed, "which no bundle has"},
		{"entry twice", rezip(t, good, nil, map[string]string{"answer.json": "{}"}), vm.CodeMalformed, "two entries"},
		{"bomb", rezip(t, good, func(n string) bool { return n != "config.json" }, map[string]string{"config.json": strings.Repeat("0", 80<<20)}), vm.CodeTooLarge, "more than 65536"},
		{"unknown field", rezip(t, good, func(n string) bool { return n != "wanted.json" }, map[string]string{"wanted.json": `{"trust":true}`}), vm.CodeMalformed, "unknown field"},
		{"no time", rezip(t, good, func(n string) bool { return n != "wanted.json" }, map[string]string{"wanted.json": `{}`}), vm.CodeMalformed, "no time"},
		{"trailing", rezip(t, good, func(n string) bool { return n != "wanted.json" }, map[string]string{"wanted.json": `{}{}`}), vm.CodeMalformed, "trailing"},
		{"no root", rezip(t, good, func(n string) bool { return n != "roots.pem" }, map[string]string{"roots.pem": "x"}), vm.CodeMalformed, "no PEM"},
		{"too large", make([]byte, verification.MaxBundleSize+1), vm.CodeTooLarge, "want at most"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := verification.OpenBundle(c.bytes)
			if vm.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.wantErr) {
				t.Errorf("%v, want %q [%s]", err, c.wantErr, c.code)
			}
		})
	}
}

// rezip copies the entries that keep accepts and adds others, compressed.
func rezip(t testing.TB, b []byte, keep func(string) bool, add map[string]string) []byte {
	t.Helper()
	in, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for _, f := range in.File {
		if keep == nil || keep(f.Name) {
			if err := z.Copy(f); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, text := range add {
		w, err := z.Create(name)
		if err == nil {
			_, err = io.WriteString(w, text)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// FuzzOpenBundle: no panic, and what is accepted can be bundled again.
func FuzzOpenBundle(f *testing.F) {
	var t testing.TB = f
	m := machinetest.Boot(t)
	ev, err := m.TEE.Quote([64]byte{1})
	if err != nil {
		f.Fatal(err)
	}
	ev.Collateral = nil // small seeds
	a := verification.Answer{Nonce: ourNonce, TLSKey: ourKey, Attestation: vm.Attestation{Evidence: ev}, Config: m.Canonical}
	f.Add(bundle(t, a, verification.Wanted{Time: time.Unix(1, 0), Compose: m.Compose}))
	f.Add(bundle(t, verification.Answer{}, verification.Wanted{Time: time.Unix(1, 0)}))
	f.Add([]byte("PK\x03\x04"))
	f.Fuzz(bundleAgain)
}

// FuzzBundleEntries: the same, past the checksums of the zip file.
func FuzzBundleEntries(f *testing.F) {
	f.Add([]byte(`{"url":"","tls_key":"`+strings.Repeat("0", 64)+`","nonce":"00","asked":"2026-01-01T00:00:00Z","took_ns":1,"attestation":{"nonce":"","tls_key":"`+
		strings.Repeat("0", 64)+`","evidence":{"tee":"tdx","quote":"AAAA"}}}`),
		[]byte(`{"time":"2026-01-01T00:00:00Z","policy":{},"wishes":{}}`), []byte(`["a"]`), []byte("-----BEGIN CERTIFICATE-----"))
	f.Fuzz(func(t *testing.T, answer, wanted, registries, roots []byte) {
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		for name, content := range map[string][]byte{"answer.json": answer, "wanted.json": wanted, "registries.json": registries, "roots.pem": roots} {
			if len(content) == 0 {
				continue
			}
			w, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(content); err != nil {
				t.Fatal(err)
			}
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		bundleAgain(t, b.Bytes())
	})
}

func bundleAgain(t *testing.T, b []byte) {
	a, want, err := verification.OpenBundle(b)
	if err != nil {
		return
	}
	if len(want.Roots) > 0 || !a.Recorded || !want.Recorded {
		t.Error("a bundle brings roots, or passes for a caller's own wishes")
	}
	var out bytes.Buffer
	if err := verification.WriteBundle(&out, a, want, verification.Report{}); err != nil && vm.CodeOf(err) != vm.CodeTooLarge {
		t.Error(err)
	}
}

// TestBundleOfOtherSystems: what existing SecretVM and dstack machines say
// beside their evidence, and the caller's registries, come back whole.
func TestBundleOfOtherSystems(t *testing.T) {
	m := machinetest.Boot(t)
	registry, err := peer.ParseRegistry(vectors.Read(t, "secretvm-verify/artifacts_registry/sev.json"))
	if err != nil {
		t.Fatal(err)
	}
	a, want := answer(t, m, ourKey, ourNonce), everything(m)
	a.Served, a.TLSCert, a.Log = &peer.Served{Compose: []byte("services: {}"), Info: []byte("{}")}, theirKey, []byte("[]")
	want.Registry = registry
	opened, wanted, err := verification.OpenBundle(bundle(t, a, want))
	if err != nil {
		t.Fatal(err)
	}
	if opened.TLSCert != theirKey || string(opened.Log) != "[]" || string(opened.Served.Compose) != "services: {}" || string(opened.Served.Info) != "{}" {
		t.Errorf("the answer is %+v, served %+v", opened, opened.Served)
	}
	if wanted.Registry == nil || len(wanted.Registry.SNP) != len(registry.SNP) || len(registry.SNP) == 0 {
		t.Errorf("the registry is %+v", wanted.Registry)
	}
}
