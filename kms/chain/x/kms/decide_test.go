package kms

import (
	"bytes"
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/attest"
	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/tee/soft/emulator"
	"github.com/secretvm/secretvm/vm"
)

const uid = "00112233445566778899aabbccddeeff"

// genuine is a release that decide grants.
func genuine(t testing.TB) *decision {
	t.Helper()
	pki, err := emulator.NewPKI(time.Now())
	must(t, err)
	group := bytes.Repeat([]byte{0xab}, 96)
	cfg := vm.Config{
		Version: 1, ComposeHash: vm.Hash{1}, Service: "svm1owner/web", InstanceID: uid, TLS: "self", Images: "digest", GPU: "none",
		KMS: vm.KMS{ChainID: "c", GroupKey: strings.Repeat("ab", 96)},
	}
	at := vm.Measurement{MRTD: vm.Register{1}, RTMR: [4]vm.Register{{2}, {3}, {4}}}
	at.MRConfigID, err = cfg.ConfigID()
	must(t, err)
	root := vm.Hash{5}
	events, err := vm.BootEvents(root, cfg)
	must(t, err)
	machine, err := emulator.New(pki, at)
	must(t, err)
	for _, e := range events {
		_, err := machine.Extend(e.Register, e.Digest)
		must(t, err)
	}
	rtmr3, err := templateRegister(root, cfg)
	must(t, err)
	about := vm.Release{ChainID: "c", BlockHash: vm.Hash{6}, InstanceID: uid, HPKEKey: []byte("hpke"), SessionKey: []byte("session")}
	evidence, err := machine.Quote(about.ReportData())
	must(t, err)
	evidence.Events = events
	config, err := cfg.Canonical()
	must(t, err)
	msg := &types.MsgRelease{
		Service: cfg.Service, VmUid: uid, HpkeKey: about.HPKEKey, SessionKey: about.SessionKey, Height: 10, BlockHash: about.BlockHash[:],
		Config: config, Keys: types.FromIDs([]keys.ID{keys.Disk(cfg.Service, uid)}),
	}
	must(t, msg.SetEvidence(evidence))
	now := time.Now()
	return &decision{
		release: msg, chainID: "c", group: types.Group{Commitments: [][]byte{group}}, anchor: &types.Anchor{Height: 10, Hash: msg.BlockHash, Time: now.Unix()},
		images:  []types.Image{{Index: 3, Mrtd: at.MRTD[:], Rtmr0: at.RTMR[0][:], Rtmr1: at.RTMR[1][:], Rtmr2: at.RTMR[2][:], Rtmr3: rtmr3[:]}},
		options: attest.Options{Roots: []*x509.Certificate{pki.Root.Cert}, Time: now}, now: now.Unix(), height: 11, params: types.DefaultParams(),
	}
}

func TestDecideGrantsWhatIsGenuine(t *testing.T) {
	out, refusal := genuine(t).decide()
	if refusal != nil || out.image != 3 {
		t.Fatalf("outcome %+v, %v, want image 3", out, refusal)
	}
}

// FuzzDecide: whatever a stranger puts into config, quote, collateral and
// events, the decision neither panics nor becomes a grant.
func FuzzDecide(f *testing.F) {
	base := genuine(f)
	m := base.release
	f.Add(m.Config, m.Quote, m.Collateral.TcbInfo, m.Events[0].Name, m.Events[0].Payload)
	f.Add([]byte("{}"), m.Quote, m.Collateral.TcbInfo, m.Events[0].Name, m.Events[0].Payload)
	f.Add(m.Config, m.Quote[:100], m.Collateral.TcbInfo, m.Events[0].Name, m.Events[0].Payload)
	f.Add(m.Config, m.Quote, []byte(`{"tcbInfo":{}}`), "compose-hash", []byte{})
	f.Fuzz(func(t *testing.T, config, quote, tcbInfo []byte, name string, payload []byte) {
		d, release := *base, *m
		collateral := *m.Collateral
		collateral.TcbInfo = tcbInfo
		release.Config, release.Quote, release.Collateral = config, quote, &collateral
		release.Events = append([]types.Event{{Name: name, Payload: payload}}, m.Events[1:]...)
		d.release = &release
		_, refusal := d.decide()
		same := bytes.Equal(config, m.Config) && bytes.Equal(quote, m.Quote) && name == m.Events[0].Name && bytes.Equal(payload, m.Events[0].Payload)
		if refusal == nil && !same {
			t.Fatalf("granted for config %q, events %q %x", config, name, payload)
		}
		if refusal != nil && (refusal.Code == "" || refusal.Reason == "" || refusal.Code == vm.CodeInternal) {
			t.Fatalf("refusal is %+v", refusal)
		}
	})
}

// TestBounded: what strangers wrote cannot act upon the owner's terminal.
func TestBounded(t *testing.T) {
	if got := bounded("a\x1b[31mb\n\x7f\u009bc"); got != "a?[31mb???c" {
		t.Errorf("control characters became %q", got)
	}
	if got := bounded(strings.Repeat("ä", 1000)); len([]rune(got)) != 512 {
		t.Errorf("%d characters were kept, want 512", len([]rune(got)))
	}
	if got := bounded("a\xffb"); got != "a?b" {
		t.Errorf("invalid UTF-8 became %q", got)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
