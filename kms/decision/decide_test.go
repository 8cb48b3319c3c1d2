package decision

import (
	"bytes"
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/attest"
	"github.com/secretvm/secretvm/tee/soft/emulator"
	"github.com/secretvm/secretvm/vm"
)

const uid = "00112233445566778899aabbccddeeff"

// genuine is a request that is granted.
func genuine(t testing.TB) (Request, Chain) { return genuineWith(t, nil, nil) }

// genuineWith is one of a machine with a changed config, itself changed.
func genuineWith(t testing.TB, config func(*vm.Config), change func(*Request, *Chain)) (Request, Chain) {
	t.Helper()
	pki, err := emulator.NewPKI(time.Now())
	must(t, err)
	cfg := vm.Config{
		Version: 1, ComposeHash: vm.Hash{1}, Service: "svm1owner/web", InstanceID: uid, TLS: "self", Images: "digest", GPU: "none",
		KMS: vm.KMS{ChainID: "c", GroupKey: strings.Repeat("ab", 96)},
	}
	if config != nil {
		config(&cfg)
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
	rtmr3, err := TemplateRegister(root, cfg)
	must(t, err)
	about := vm.Release{ChainID: "c", BlockHash: vm.Hash{6}, InstanceID: uid, HPKEKey: []byte("hpke"), SessionKey: []byte("session")}
	evidence, err := machine.Quote(about.ReportData())
	must(t, err)
	evidence.Events = events
	canonical, err := cfg.Canonical()
	must(t, err)
	now := time.Now()
	request, chain := Request{
		Service: cfg.Service, InstanceID: uid, HPKEKey: about.HPKEKey, SessionKey: about.SessionKey, Height: 10, BlockHash: about.BlockHash,
		Config: canonical, Evidence: evidence,
	}, Chain{
		ID: "c", Groups: []Group{{Key: cfg.KMS.GroupKey}}, Anchor: &Anchor{Hash: about.BlockHash, Time: now.Unix()},
		Images: List{{
			Image: Image{Index: 3, RTMR1: at.RTMR[1], RTMR2: at.RTMR[2], RTMR3: rtmr3},
			Rows:  []Platform{{TEE: vm.TDX, MRTD: vm.Register{9}, RTMR0: at.RTMR[0]}, {TEE: vm.TDX, MRTD: at.MRTD, RTMR0: at.RTMR[0]}},
		}},
		Height: 11, Now: now.Unix(), MaxBlockAge: 100, MaxBlockSeconds: 900,
		Verify: attest.Options{Roots: []*x509.Certificate{pki.Root.Cert}, Time: now},
	}
	if change != nil {
		change(&request, &chain)
	}
	return request, chain
}

func TestDecideGrantsWhatIsGenuine(t *testing.T) {
	out, refusal, err := Decide(genuine(t))
	if err != nil || refusal != nil || out.Image != 3 {
		t.Fatalf("outcome %+v, %v, want image 3", out, refusal)
	}
}

// FuzzDecide: whatever a stranger puts into config, quote, collateral and
// events, the decision neither panics nor becomes a grant.
func FuzzDecide(f *testing.F) {
	request, chain := genuine(f)
	ev := request.Evidence
	first := ev.Events[0]
	f.Add(request.Config, ev.Quote, ev.Collateral.TCBInfo, first.Name, first.Payload)
	f.Add([]byte("{}"), ev.Quote, ev.Collateral.TCBInfo, first.Name, first.Payload)
	f.Add(request.Config, ev.Quote[:100], ev.Collateral.TCBInfo, first.Name, first.Payload)
	f.Add(request.Config, ev.Quote, []byte(`{"tcbInfo":{}}`), "compose-hash", []byte{})
	f.Fuzz(func(t *testing.T, config, quote, tcbInfo []byte, name string, payload []byte) {
		r, collateral := request, *ev.Collateral
		collateral.TCBInfo = tcbInfo
		r.Config, r.Evidence.Quote, r.Evidence.Collateral = config, quote, &collateral
		r.Evidence.Events = append([]vm.Event{vm.RuntimeEvent(name, payload)}, ev.Events[1:]...)
		_, refusal, err := Decide(r, chain)
		must(t, err)
		same := bytes.Equal(config, request.Config) && bytes.Equal(quote, ev.Quote) && name == first.Name && bytes.Equal(payload, first.Payload)
		if refusal == nil && !same {
			t.Fatalf("granted for config %q, events %q %x", config, name, payload)
		}
		if refusal != nil && (refusal.Code == "" || refusal.Reason == "" || refusal.Code == vm.CodeInternal) {
			t.Fatalf("refusal is %+v", refusal)
		}
	})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
