package chain_test

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"strings"
	"testing"

	abci "github.com/cometbft/cometbft/abci/types"

	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/kms/signer"
	"github.com/secretvm/secretvm/vm"
)

func TestCreateService(t *testing.T) {
	w := newWorld(t, types.TrustIntel)
	for _, tt := range []struct {
		name    string
		service string
		wantErr vm.Code
	}{
		{"good", "web", ""},
		{"again", "web", vm.CodeExists},
		{"one letter", "a", ""},
		{"longest", strings.Repeat("a", 63), ""},
		{"too long", strings.Repeat("a", 64), vm.CodeInvalid},
		{"empty", "", vm.CodeInvalid},
		{"upper case", "Web", vm.CodeInvalid},
		{"slash", "a/b", vm.CodeInvalid},
		{"dash at the end", "web-", vm.CodeInvalid},
		{"line break", "web\n", vm.CodeInvalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var answer types.MsgCreateServiceResponse
			code, text := w.send(w.owner, &types.MsgCreateService{Owner: w.owner.Address, Name: tt.service}, &answer)
			if code != tt.wantErr {
				t.Fatalf("code is %q (%s), want %q", code, text, tt.wantErr)
			}
			if code == "" && answer.Service != w.owner.Address+"/"+tt.service {
				t.Errorf("service is %q", answer.Service)
			}
		})
	}
}

// TestK5_NamesAreTheirOwners: the same name under another address is another
// service, nobody signs for somebody else, and nothing is ever replaced.
func TestK5_NamesAreTheirOwners(t *testing.T) {
	w := softWorld(t)
	cfg := w.service()
	if code, _ := w.send(w.other, &types.MsgCreateService{Owner: w.other.Address, Name: "web"}, &types.MsgCreateServiceResponse{}); code != "" {
		t.Fatalf("another owner's service of the same name: %s", code)
	}
	if code, _ := w.send(w.other, &types.MsgCreateService{Owner: w.owner.Address, Name: "mine"}, nil); code == "" {
		t.Error("a service was registered in another's name")
	}
	theirs := w.image(cfg)
	theirs.Owner = w.other.Address
	if code, _ := w.send(w.other, theirs, nil); code != vm.CodePermission {
		t.Errorf("image added to another's service: code %q, want %s", code, vm.CodePermission)
	}
	again := w.image(cfg)
	again.Description = "other words"
	if code, _ := w.send(w.owner, again, nil); code != vm.CodeExists {
		t.Errorf("image added twice: code %q, want %s", code, vm.CodeExists)
	}
	ctx, err := w.app.Read()
	must(t, err)
	images, err := w.app.KMS.Images(ctx, cfg.Service, 10)
	must(t, err)
	if len(images) != 1 || images[0].Description != "test image" {
		t.Errorf("images are %+v, want the first alone and unchanged", images)
	}
	stranger, err := signer.New()
	must(t, err)
	if code, _ := w.send(stranger, &types.MsgCreateService{Owner: stranger.Address, Name: "web"}, nil); code == "" {
		t.Error("an account that was not admitted registered a service")
	}
}

// TestK1_WildcardsCannotBeExpressed: every register is named in full.
func TestK1_WildcardsCannotBeExpressed(t *testing.T) {
	w := softWorld(t)
	cfg := w.service()
	for i, name := range []string{"mrtd", "rtmr0", "rtmr1", "rtmr2", "rtmr3"} {
		for kind, value := range map[string][]byte{"missing": nil, "short": make([]byte, 47), "zero": make([]byte, 48), "long": make([]byte, 49)} {
			msg := w.image(cfg)
			msg.RootHash, msg.Template = nil, nil
			*[]*[]byte{&msg.Platforms[0].Mrtd, &msg.Platforms[0].Rtmr0, &msg.Rtmr1, &msg.Rtmr2, &msg.Rtmr3}[i] = value
			if code, text := w.send(w.owner, msg, nil); code != vm.CodeInvalid || !strings.Contains(text, name) {
				t.Errorf("%s %s: code is %q (%s), want %s", kind, name, code, text, vm.CodeInvalid)
			}
		}
	}
}

func TestAddImage(t *testing.T) {
	w := softWorld(t)
	cfg := w.service()
	next := cfg
	next.ComposeHash = vm.HashOf([]byte("next"))
	for _, tt := range []struct {
		name    string
		change  func(*types.MsgAddImage)
		wantErr vm.Code
	}{
		{"no such service", func(m *types.MsgAddImage) { m.Service = w.owner.Address + "/nothing" }, vm.CodeNoService},
		{"long description", func(m *types.MsgAddImage) { m.Description = strings.Repeat("a", 257) }, vm.CodeTooLarge},
		{"long template", func(m *types.MsgAddImage) { m.Template = make([]byte, vm.MaxConfigSize+1) }, vm.CodeTooLarge},
		{"template alone", func(m *types.MsgAddImage) { m.RootHash = nil }, vm.CodeInvalid},
		{"root hash alone", func(m *types.MsgAddImage) { m.Template = nil }, vm.CodeInvalid},
		{"short root hash", func(m *types.MsgAddImage) { m.RootHash = m.RootHash[:31] }, vm.CodeInvalid},
		{"template is no config", func(m *types.MsgAddImage) { m.Template = []byte("{}") }, vm.CodeInvalid},
		{"template with trailing space", func(m *types.MsgAddImage) { m.Template = append(m.Template, ' ') }, vm.CodeInvalid},
		{"rtmr3 of another template", func(m *types.MsgAddImage) { m.Rtmr3 = bytes.Repeat([]byte{9}, 48) }, vm.CodeInvalid},
		{"template of a machine", func(m *types.MsgAddImage) { setTemplate(t, m, next, false) }, vm.CodeInvalid},
		{"template of another service", func(m *types.MsgAddImage) {
			c := next
			c.Service = w.other.Address + "/web"
			setTemplate(t, m, c, true)
		}, vm.CodeInvalid},
		{"template of another chain", func(m *types.MsgAddImage) {
			c := next
			c.KMS.ChainID = "other"
			setTemplate(t, m, c, true)
		}, vm.CodeInvalid},
		{"good", func(*types.MsgAddImage) {}, ""},
		{"good without template", func(m *types.MsgAddImage) {
			m.RootHash, m.Template, m.Rtmr3 = nil, nil, bytes.Repeat([]byte{8}, 48)
		}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			msg := w.image(next)
			tt.change(msg)
			if code, text := w.send(w.owner, msg, &types.MsgAddImageResponse{}); code != tt.wantErr {
				t.Fatalf("code is %q (%s), want %q", code, text, tt.wantErr)
			}
		})
	}
}

// setTemplate explains the message by cfg, blanked or not, with the RTMR3 of it.
func setTemplate(t *testing.T, m *types.MsgAddImage, cfg vm.Config, blank bool) {
	t.Helper()
	if blank {
		cfg = cfg.Template()
	}
	var err error
	m.Template, err = cfg.Canonical()
	must(t, err)
	rtmr3 := replay(t, root, cfg)
	m.Rtmr3 = rtmr3[:]
}

// malformed is a release that is not even looked at.
type malformed struct {
	name    string
	change  func(*types.MsgRelease)
	wantErr vm.Code
}

func TestK8_OversizedReleases(t *testing.T) {
	checkMalformed(t, []malformed{
		{"quote", func(m *types.MsgRelease) { m.Quote = make([]byte, vm.MaxQuoteSize+1) }, vm.CodeTooLarge},
		{"config", func(m *types.MsgRelease) { m.Config = make([]byte, vm.MaxConfigSize+1) }, vm.CodeTooLarge},
		{"collateral", func(m *types.MsgRelease) { m.Collateral.TcbInfo = make([]byte, vm.MaxCollateralSize) }, vm.CodeTooLarge},
		{"events", func(m *types.MsgRelease) { m.Events[0].Payload = make([]byte, vm.MaxEventsSize) }, vm.CodeTooLarge},
		{"number of events", func(m *types.MsgRelease) { m.Events = make([]types.Event, vm.MaxEvents+1) }, vm.CodeTooLarge},
	})
}

func TestReleaseMessage(t *testing.T) {
	checkMalformed(t, []malformed{
		{"unknown service", func(m *types.MsgRelease) {
			m.Service += "x"
			m.Keys[0].Service = m.Service
		}, vm.CodeNoService},
		{"relay is no node", func(m *types.MsgRelease) { m.Relay, _, _ = strings.Cut(m.Service, "/") }, vm.CodePermission},
		{"instance id", func(m *types.MsgRelease) { m.VmUid = "x" }, vm.CodeMalformed},
		{"session key", func(m *types.MsgRelease) { m.SessionKey = nil }, vm.CodeMalformed},
		{"HPKE key", func(m *types.MsgRelease) { m.HpkeKey = m.HpkeKey[:32] }, vm.CodeMalformed},
		{"no block", func(m *types.MsgRelease) { m.Height = 0 }, vm.CodeMalformed},
		{"no keys", func(m *types.MsgRelease) { m.Keys = nil }, vm.CodeMalformed},
		{"key twice", func(m *types.MsgRelease) { m.Keys = append(m.Keys, m.Keys[0]) }, vm.CodeMalformed},
		{"key name", func(m *types.MsgRelease) { m.Keys[0].Name = "root" }, vm.CodeMalformed},
		{"key of another service", func(m *types.MsgRelease) { m.Keys[0].Service += "x" }, vm.CodePermission},
		{"key of another machine", func(m *types.MsgRelease) { m.Keys[0].Scope = keys.InstanceScope(strings.Repeat("8", 32)) }, vm.CodePermission},
	})
}

// checkMalformed relays such releases: each fails with its code, in the mempool
// as in a block, and leaves nothing on the ledger.
func checkMalformed(t *testing.T, table []malformed) {
	t.Helper()
	w := softWorld(t)
	cfg := w.service()
	for _, tt := range table {
		t.Run(tt.name, func(t *testing.T) {
			msg := w.release(boot(t, root, cfg))
			tt.change(msg)
			from := w.relay
			if msg.Relay != w.relay.Address {
				from = w.owner
			}
			if code, text := w.send(from, msg, &types.MsgReleaseResponse{}); code != tt.wantErr {
				t.Fatalf("code is %q (%s), want %q", code, text, tt.wantErr)
			}
			if res, err := w.app.CheckTx(&abci.RequestCheckTx{Tx: w.sign(from, msg)}); err != nil || res.Code == 0 {
				t.Errorf("CheckTx let it into the mempool: %v", err)
			}
		})
	}
	ctx, err := w.app.Read()
	must(t, err)
	grants, refusals, err := w.app.KMS.Log(ctx, cfg.Service, 100)
	must(t, err)
	if len(grants)+len(refusals) != 0 {
		t.Errorf("the ledger holds %d grants and %d refusals, want none", len(grants), len(refusals))
	}
	if res, err := w.app.CheckTx(&abci.RequestCheckTx{Tx: w.sign(w.relay, w.release(boot(t, root, cfg)))}); err != nil || res.Code != 0 {
		t.Errorf("CheckTx keeps a good release out: %v, %v", res, err)
	}
}

// TestA6_RefusalsAreBounded: the ledger keeps the newest few, and the same
// refusal many times drives nothing out.
func TestA6_RefusalsAreBounded(t *testing.T) {
	w := softWorld(t)
	cfg := w.service()
	changed := cfg
	changed.Images = "tag"
	for range 5 {
		w.refused(w.release(boot(t, root, changed)), vm.CodeConfig)
	}
	for i := range types.MaxRefusals + 5 {
		changed.InstanceID = fmt.Sprintf("%032x", i+1)
		w.refused(w.release(boot(t, root, changed)), vm.CodeConfig)
		if i == 0 {
			_, refusals := logOf(t, w, cfg.Service)
			if len(refusals) != 2 || refusals[1].Count != 5 {
				t.Fatalf("refusals are %+v, want two, one of them counted five times", refusals)
			}
		}
	}
	if _, refusals := logOf(t, w, cfg.Service); len(refusals) != types.MaxRefusals || refusals[0].VmUid != changed.InstanceID {
		t.Errorf("%d refusals, newest of %s, want %d, newest of %s", len(refusals), refusals[0].VmUid, types.MaxRefusals, changed.InstanceID)
	}
}

func logOf(t *testing.T, w *world, service string) ([]types.Grant, []types.Refusal) {
	t.Helper()
	ctx, err := w.app.Read()
	must(t, err)
	grants, refusals, err := w.app.KMS.Log(ctx, service, 100)
	must(t, err)
	return grants, refusals
}

// TestD4_GenerationsOnlyRise: one by one, by the machine that was granted last.
func TestD4_GenerationsOnlyRise(t *testing.T) {
	w := softWorld(t)
	cfg := w.service()
	old := boot(t, root, cfg)
	oldGrant := w.granted(w.release(old))
	m := boot(t, root, cfg)
	grant := w.granted(w.release(m))
	say := func(g *types.Grant, key ed25519.PrivateKey, generation uint64) *types.MsgAdvance {
		signature := ed25519.Sign(key, keys.AdvanceMessage(chainID, [32]byte(g.Id), generation))
		return &types.MsgAdvance{Relay: w.relay.Address, Grant: g.Id, Generation: generation, Signature: signature}
	}
	for _, tt := range []struct {
		name    string
		msg     *types.MsgAdvance
		wantErr vm.Code
		now     uint64
	}{
		{"first use", say(grant, m.session, 1), "", 1},
		{"said again", say(grant, m.session, 1), "", 1},
		{"next", say(grant, m.session, 2), "", 2},
		{"skips one", say(grant, m.session, 4), vm.CodeInvalid, 2},
		{"back", say(grant, m.session, 1), vm.CodeInvalid, 2},
		{"zero", say(grant, m.session, 0), vm.CodeMalformed, 2},
		{"another key", say(grant, old.session, 3), vm.CodeSignature, 2},
		{"older grant", say(oldGrant, old.session, 3), vm.CodeStale, 2},
		{"no grant", say(&types.Grant{Id: bytes.Repeat([]byte{1}, 32)}, m.session, 3), vm.CodeInvalid, 2},
		{"short id", &types.MsgAdvance{Relay: w.relay.Address, Grant: []byte{1}, Generation: 3, Signature: make([]byte, 64)}, vm.CodeMalformed, 2},
		{"relay is no node", func() *types.MsgAdvance {
			m := say(grant, m.session, 3)
			m.Relay = w.owner.Address
			return m
		}(), vm.CodePermission, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			from := w.relay
			if tt.msg.Relay != w.relay.Address {
				from = w.owner
			}
			if code, text := w.send(from, tt.msg, &types.MsgAdvanceResponse{}); code != tt.wantErr {
				t.Fatalf("code is %q (%s), want %q", code, text, tt.wantErr)
			}
			ctx, err := w.app.Read()
			must(t, err)
			instance, err := w.app.KMS.Instance(ctx, cfg.Service, uid)
			must(t, err)
			if instance.Generation != tt.now {
				t.Errorf("generation is %d, want %d", instance.Generation, tt.now)
			}
		})
	}
	if g := w.granted(w.release(boot(t, root, cfg))); g.Generation != 2 {
		t.Errorf("the next grant says generation %d, want 2", g.Generation)
	}
}
