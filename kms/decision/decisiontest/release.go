// Package decisiontest has the key manager decide about machines of machinetest, in
// tests of what somebody could show it.
package decisiontest

import (
	"testing"
	"time"

	"github.com/secretvm/secretvm/attest"
	"github.com/secretvm/secretvm/kms/decision"
	"github.com/secretvm/secretvm/verification/machinetest"
	"github.com/secretvm/secretvm/vm"
)

// Release is a request for the keys of a machine whose image the owner allows.
type Release struct {
	machine *machinetest.Machine
	about   vm.Release
	chain   decision.Chain
}

// New makes the request, with keys of its session. The machine's own quote is
// granted: whatever is refused is refused for what it is.
func New(t *testing.T, m *machinetest.Machine) *Release {
	t.Helper()
	at := m.TEE.Read()
	rtmr3, err := decision.TemplateRegister(m.Root, m.Config)
	if err != nil {
		t.Fatal(err)
	}
	about := vm.Release{
		ChainID: m.Config.KMS.ChainID, BlockHash: vm.Hash{6}, InstanceID: m.Config.InstanceID,
		HPKEKey: []byte("somebody's"), SessionKey: []byte("somebody's too"),
	}
	now := time.Now()
	r := &Release{m, about, decision.Chain{
		ID: about.ChainID, Groups: []decision.Group{{Key: m.Config.KMS.GroupKey}}, Anchor: &decision.Anchor{Hash: about.BlockHash, Time: now.Unix()},
		Images: decision.List{{
			Image: decision.Image{RTMR1: at.RTMR[1], RTMR2: at.RTMR[2], RTMR3: rtmr3},
			Rows:  []decision.Platform{{TEE: vm.TDX, MRTD: at.MRTD, RTMR0: at.RTMR[0]}},
		}},
		Height: 11, Now: now.Unix(), MaxBlockAge: 100, MaxBlockSeconds: 900,
		Verify: attest.Options{Roots: m.Roots(), Time: now},
	}}
	own, err := m.Quote(t.Context(), r.ReportData())
	if err != nil {
		t.Fatal(err)
	}
	if code := r.Decide(t, own); code != "" {
		t.Fatalf("the machine's own request is refused: %s", code)
	}
	return r
}

// ReportData is what a quote for the request is over.
func (r *Release) ReportData() [64]byte { return r.about.ReportData() }

// Decide returns why the request is refused with a quote; nothing: it is granted.
func (r *Release) Decide(t *testing.T, ev vm.Evidence) vm.Code {
	t.Helper()
	ev.Events = r.machine.Events
	_, refusal, err := decision.Decide(decision.Request{
		Service: r.machine.Config.Service, InstanceID: r.about.InstanceID, HPKEKey: r.about.HPKEKey, SessionKey: r.about.SessionKey,
		Height: 10, BlockHash: r.about.BlockHash, Config: r.machine.Canonical, Evidence: ev,
	}, r.chain)
	if err != nil {
		t.Fatal(err)
	}
	if refusal == nil {
		return ""
	}
	return refusal.Code
}
