package vm

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

// TestW2_GrantsAreExact: a grant of a path is one of those below it, and of
// nothing that merely begins alike.
func TestW2_GrantsAreExact(t *testing.T) {
	api := API{"web": {"info", "key/wallet/alice", "sign/ed25519"}, "signer": {"key/wallet"}}
	for _, tt := range []struct {
		service, grant string
		want           bool
	}{
		{"web", "info", true},
		{"web", "quote", false},
		{"db", "info", false},
		{"", "info", false},
		{"web", "key/wallet/alice", true},
		{"web", "key/wallet/alice/eth/0", true},
		{"web", "key/wallet/alice2", false},
		{"web", "key/wallet/bob", false},
		{"web", "key/wallet", false},
		{"web", "instance-key/wallet/alice", false},
		{"signer", "key/wallet/bob", true},
		{"signer", "sign/ed25519", false},
		{"web", "sign/ed25519", true},
		{"web", "sign/secp256k1", false},
		{"web", "sign/", false},
		{"web", "", false},
	} {
		if got := api.Allows(tt.service, tt.grant); got != tt.want {
			t.Errorf("%s, %s: %v, want %v", tt.service, tt.grant, got, tt.want)
		}
	}
	if got := api.KeyNames(); !slices.Equal(got, []string{"key/wallet", "sign/ed25519"}) {
		t.Errorf("keys are %q", got)
	}
}

// TestW2_QuotesOfWorkloadsMeanNothingElse: whatever a container asks about, no
// other purpose's report data comes out, be it fed that purpose's very preimage.
func TestW2_QuotesOfWorkloadsMeanNothingElse(t *testing.T) {
	spki, nonce := HashOf([]byte("key")), bytes.Repeat([]byte{7}, 32)
	release := Release{ChainID: "c", InstanceID: strings.Repeat("0f", 16), HPKEKey: []byte("h"), SessionKey: []byte("s")}
	others := map[string][64]byte{
		"attestation": AttestationReportData(spki, nonce),
		"connection":  ExporterReportData(spki, nonce, nonce),
		"release":     release.ReportData(),
		"certificate": ClaimsReportData([]byte("claims")),
		"application": ApplicationReportData(Register{}, nonce),
		"signing key": SigningReportData(nonce),
	}
	for name, other := range others {
		for what, data := range map[string][]byte{"nothing": nil, "itself": other[:], "its half": other[:32], "the nonce": nonce, "the key": spki[:]} {
			if got := WorkloadReportData(data); got == other {
				t.Errorf("a quote about %s of %s passes for it", what, name)
			}
			if got := ApplicationReportData(Register{}, data); got == other && name != "application" {
				t.Errorf("a quote about the log and %s of %s passes for it", what, name)
			}
			if got := ApplicationReportData(Register{1}, data); got == other {
				t.Errorf("a quote about a log and %s of %s passes for it", what, name)
			}
		}
	}
}

// TestB7_ApplicationEventsAreNoBootEvents: neither list takes the other's events.
func TestB7_ApplicationEventsAreNoBootEvents(t *testing.T) {
	e := ApplicationEvent("web", EventBootComplete, nil)
	if err := e.CheckRuntime(); err == nil {
		t.Error("an application's event passes for one of the boot")
	}
	if _, err := Replay([]Event{e}); err == nil {
		t.Error("an application's event extends a register of the TEE")
	}
	disguised := e
	disguised.Register = RuntimeRegister
	if err := disguised.CheckRuntime(); err == nil {
		t.Error("its digest passes for that of a boot event")
	}
	if _, err := ReplayApplication([]Event{RuntimeEvent("x", nil)}); err == nil {
		t.Error("a boot event is in the application's log")
	}
}

func TestReplayApplication(t *testing.T) {
	first, second := ApplicationEvent("web", "a", []byte("1")), ApplicationEvent("web", "b", nil)
	one, err := ReplayApplication([]Event{first, second})
	if err != nil {
		t.Fatal(err)
	}
	other, err := ReplayApplication([]Event{second, first})
	if err != nil || one == other || one == (Register{}) {
		t.Errorf("order does not count: %v", err)
	}
	if empty, err := ReplayApplication(nil); err != nil || empty != (Register{}) {
		t.Errorf("an empty log is %s, %v", empty, err)
	}
	// service and name are one string: where they part must not be ambiguous for
	// names that services and events can have.
	if ApplicationEvent("a", "b.c", nil).Digest == ApplicationEvent("a.b", "c", nil).Digest {
		t.Error("one event is two")
	}
	changed := first
	changed.Payload = []byte("2")
	long := make([]Event, MaxAPIServices*MaxServiceEvents+1)
	for name, events := range map[string][]Event{
		"payload": {changed}, "too long": long, "huge payload": {ApplicationEvent("web", "a", make([]byte, MaxEventPayload+1))},
		"huge name": {ApplicationEvent("web", strings.Repeat("a", 200), nil)},
	} {
		if _, err := ReplayApplication(events); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
