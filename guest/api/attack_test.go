package api_test

import (
	"encoding/hex"
	"testing"
	"time"

	"github.com/secretvm/secretvm/guestapi"
	"github.com/secretvm/secretvm/kms/decision/decisiontest"
	"github.com/secretvm/secretvm/verification"
	"github.com/secretvm/secretvm/vm"
)

// hostile are the data that a container would quote to get report data rd, and
// the evidence that it gets for them.
func hostile(t *testing.T, c *guestapi.Client, rd [64]byte) (out []vm.Evidence) {
	t.Helper()
	for _, data := range [][]byte{rd[:], rd[:32], nil} {
		ev, err := c.Quote(t.Context(), data)
		if err != nil {
			t.Fatal(err)
		}
		q, err := c.Application(t.Context(), data)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, ev, q.Evidence)
	}
	return out
}

// TestW2_QuotesOfContainersReleaseNothing: the machine's own request is granted;
// with any quote that a container can get, for the container's own session keys,
// it is refused.
func TestW2_QuotesOfContainersReleaseNothing(t *testing.T) {
	m, sockets := start(t, vm.API{"web": {vm.GrantQuote}})
	release := decisiontest.New(t, m)
	for i, ev := range hostile(t, guestapi.New(sockets["web"]), release.ReportData()) {
		if code := release.Decide(t, ev); code != vm.CodeReportData {
			t.Errorf("quote %d of a container: %q, want %s", i, code, vm.CodeReportData)
		}
	}
}

// TestA3_ContainersCannotAnswerForTheMachine: a container that serves TLS with a
// key of its own and answers nonces itself is not taken for the attestation service.
func TestA3_ContainersCannotAnswerForTheMachine(t *testing.T) {
	m, sockets := start(t, vm.API{"web": {vm.GrantQuote}})
	theirs, nonce := vm.HashOf([]byte("the container's key")), []byte("a nonce that somebody has drawn.")
	appraise := func(ev vm.Evidence) verification.Report {
		ev.Events = m.Events
		a := vm.Attestation{Nonce: hex.EncodeToString(nonce), TLSKey: theirs, Evidence: ev}
		return verification.Appraise(
			verification.Answer{URL: "https://vm.example", TLSKey: theirs, Nonce: nonce, Attestation: a, Config: m.Canonical},
			verification.Wanted{Compose: m.Compose, Manifest: &m.Manifest, Roots: m.Roots(), Time: time.Now()})
	}
	own, err := m.Quote(t.Context(), vm.AttestationReportData(theirs, nonce))
	if err != nil {
		t.Fatal(err)
	}
	if r := appraise(own); r.Verdict == verification.NotVerified {
		t.Fatalf("what the attestation service would say is not verified: %s", r.Summary)
	}
	for i, ev := range hostile(t, guestapi.New(sockets["web"]), vm.AttestationReportData(theirs, nonce)) {
		if r := appraise(ev); r.Verdict != verification.NotVerified || r.Check("connection").Code != vm.CodeReportData {
			t.Errorf("quote %d of a container: %s, %+v", i, r.Verdict, r.Check("connection"))
		}
	}
}
