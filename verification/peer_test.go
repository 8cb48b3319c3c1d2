package verification_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/attest"
	"github.com/secretvm/secretvm/attest/tdx"
	"github.com/secretvm/secretvm/peer"
	"github.com/secretvm/secretvm/test/vectors"
	"github.com/secretvm/secretvm/verification"
	"github.com/secretvm/secretvm/vm"
)

// reference is where the reference system's own vectors are.
const reference = "secretvm-verify/test-data/"

// intelCollateral is Intel's signed material around the reference system's
// quotes, of June 2025.
func intelCollateral(t testing.TB) *vm.Collateral {
	t.Helper()
	c, err := verification.ParseCollateral(vectors.Read(t, "dcap-qvl/sample/tdx_quote_collateral.json"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// then is after the quote's certificate was issued. The collateral at hand is
// older than that, which the policy of these tests allows.
var (
	then = time.Date(2026, 2, 15, 0, 0, 0, 0, time.UTC)
	late = attest.Policy{StaleCollateral: 300 * 24 * time.Hour}
)

func referenceRegistry(t testing.TB) *peer.Registry {
	t.Helper()
	r, err := peer.ParseRegistry(vectors.Read(t, "secretvm-verify/artifacts_registry/tdx.csv"), vectors.Read(t, "secretvm-verify/artifacts_registry/sev.json"))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// referenceAnswer is what the reference system's machine served, over a
// connection with the key that its quote names.
func referenceAnswer(t testing.TB) verification.Answer {
	t.Helper()
	a, _, err := verification.Recognise(vectors.Read(t, reference+"tdx_cpu_docker_check_quote.txt"))
	if err != nil {
		t.Fatal(err)
	}
	a.Attestation.Evidence.Collateral = intelCollateral(t)
	q, err := tdx.Decode(a.Attestation.Evidence.Quote)
	if err != nil {
		t.Fatal(err)
	}
	a.URL, a.TLSKey, a.Asked = "https://vm.example:29343", vm.Hash(q.Body.ReportData[:32]), then
	a.Served = &peer.Served{Compose: vectors.Read(t, reference+"tdx_cpu_docker_check_compose.yaml")}
	return a
}

// states writes a report's outcomes as name=+, -, or o.
func states(r verification.Report) string {
	var out []string
	for _, c := range r.Checks {
		out = append(out, c.Name+map[verification.Outcome]string{verification.Holds: "+", verification.Fails: "-", verification.Open: "o"}[c.OK])
	}
	return strings.Join(out, " ")
}

func TestExistingSecretVM(t *testing.T) {
	registry := referenceRegistry(t)
	compose := vectors.Read(t, reference+"tdx_cpu_docker_check_compose.yaml")
	developers := *registry
	developers.TDX = nil
	for _, image := range registry.TDX {
		image.Kind = "dev"
		developers.TDX = append(developers.TDX, image)
	}
	type (
		answer = verification.Answer
		wanted = verification.Wanted
	)
	for _, tt := range []struct {
		name    string
		change  func(*answer, *wanted)
		verdict string
		states  string
		text    string
	}{
		{
			"everything", func(*answer, *wanted) {}, verification.Verified,
			"connection+ fresho quote+ platform+ firmware+ kernel+ hardware+ system+ workload+ configurationo boot+", "small prod v0.0.25",
		},
		{
			"the certificate is bound, not the key", func(a *answer, _ *wanted) { a.TLSCert, a.TLSKey = a.TLSKey, vm.Hash{1} }, verification.Verified,
			"connection+ fresho quote+ platform+ firmware+ kernel+ hardware+ system+ workload+ configurationo boot+", "certificate sha256",
		},
		{
			"somebody sits between", func(a *answer, _ *wanted) { a.TLSKey[0] ^= 1 }, verification.NotVerified,
			"connection- fresho quote+ platform+ firmware+ kernel+ hardware+ system+ workload+ configurationo boot+", "another TLS key",
		},
		{
			"one more byte in the compose file", func(_ *answer, w *wanted) { w.Compose = append(bytes.Clone(compose), '\n') }, verification.NotVerified,
			"connection+ fresho quote+ platform+ firmware+ kernel+ hardware+ system+ workload- configurationo boot+", "another compose file than yours",
		},
		{
			"one more byte, and nothing served", func(a *answer, w *wanted) {
				w.Compose, a.Served = append(bytes.Clone(compose), '\n'), &peer.Served{}
			}, verification.NotVerified,
			"connection+ fresho quote+ platform+ firmware+ kernel+ hardware+ systemo workload- configurationo booto", "explains what was measured",
		},
		{
			"another compose file is served", func(a *answer, _ *wanted) { a.Served.Compose = []byte("lie") }, verification.Verified,
			"connection+ fresho quote+ platform+ firmware+ kernel+ hardware+ system+ workload+ configurationo boot+", "byte for byte yours",
		},
		{
			"no compose file passed", func(_ *answer, w *wanted) { w.Compose = nil }, verification.UnverifiedWorkload,
			"connection+ fresho quote+ platform+ firmware+ kernel+ hardware+ system+ workloado configurationo boot+", "is the measured one; not compared",
		},
		{
			"served as a page", func(a *answer, w *wanted) {
				w.Compose, a.Served.Compose = nil, []byte("<html><pre>"+string(compose)+"\u200b</pre></html>")
			}, verification.UnverifiedWorkload,
			"connection+ fresho quote+ platform+ firmware+ kernel+ hardware+ system+ workloado configurationo boot+", "is the measured one; not compared",
		},
		{
			"no registry", func(_ *answer, w *wanted) { w.Registry = nil }, verification.UnverifiedWorkload,
			"connection+ fresho quote+ platform+ firmwareo kernelo hardwareo systemo workloado configurationo booto", "pass --registry",
		},
		{
			"V1: a miss is a miss", func(_ *answer, w *wanted) { w.Registry = &peer.Registry{SNP: registry.SNP} }, verification.NotVerified,
			"connection+ fresho quote+ platform+ firmware- kernel- hardware- systemo workloado configurationo booto", "no image in the registry",
		},
		{
			"B5: a development image", func(_ *answer, w *wanted) { w.Registry = &developers }, verification.NotVerified,
			"connection+ fresho quote+ platform+ firmware+ kernel+ hardware+ system- workload+ configurationo boot+", "its makers can log in",
		},
		{
			"service of ours", func(_ *answer, w *wanted) { w.Service = "svm1x/guestbook" }, verification.NotVerified,
			"connection+ fresho quote+ platform+ firmware+ kernel+ hardware+ system+ workload+ configuration- boot+", "does not measure",
		},
		{
			"the policy wants a nonce of one's own", func(_ *answer, w *wanted) { w.Wishes.Fresh = true }, verification.NotVerified,
			"connection+ fresh- quote+ platform+ firmware+ kernel+ hardware+ system+ workload+ configurationo boot+", "a nonce of your own",
		},
		{
			"a quote in a file", func(a *answer, _ *wanted) { a.TLSKey, a.Served = vm.Hash{}, nil }, verification.Verified,
			"connectiono fresho quote+ platform+ firmware+ kernel+ hardware+ system+ workload+ configurationo boot+", "nobody saw a connection",
		},
		{
			"expired collateral", func(_ *answer, w *wanted) { w.Time = then.AddDate(1, 0, 0) }, verification.NotVerified, "", "",
		},
		{
			"a changed quote", func(a *answer, _ *wanted) {
				ev := &a.Attestation.Evidence
				ev.Quote = bytes.Clone(ev.Quote)
				ev.Quote[184] ^= 1 // MRTD
			}, verification.NotVerified, "", "",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, w := referenceAnswer(t), verification.Wanted{Compose: compose, Registry: registry, Time: then, Policy: late}
			tt.change(&a, &w)
			r := verification.Appraise(a, w)
			var text strings.Builder
			if err := r.WriteText(&text, false); err != nil {
				t.Fatal(err)
			}
			if r.Verdict != tt.verdict || tt.states != "" && (states(r) != tt.states || r.System != verification.SystemSecretVM) || !strings.Contains(text.String(), tt.text) {
				t.Errorf("%s %s\nwant %s %s with %q:\n%s", r.Verdict, states(r), tt.verdict, tt.states, tt.text, &text)
			}
		})
	}
}
