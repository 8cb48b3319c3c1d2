package chain_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/attest/tdx"
	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/tee/soft/emulator"
	"github.com/secretvm/secretvm/vm"
)

func TestReleaseIsGranted(t *testing.T) {
	w := softWorld(t)
	cfg := w.service()
	msg := w.release(boot(t, root, cfg))
	grant := w.granted(msg)
	if grant.Service != cfg.Service || grant.VmUid != uid || grant.Image != 0 || grant.Generation != 0 || grant.TcbStatus != "UpToDate" ||
		grant.Anchor.Intel || !strings.Contains(grant.Anchor.Subject, "INSECURE") || grant.Height != w.height ||
		!bytes.Equal(grant.HpkeKey, msg.HpkeKey) || !bytes.Equal(grant.SessionKey, msg.SessionKey) {
		t.Errorf("grant is %+v", grant)
	}
	ctx, err := w.app.Read()
	must(t, err)
	committed, err := w.app.KMS.Grant(ctx, grant.Id)
	must(t, err)
	if committed.Height != grant.Height || committed.IDs()[0] != keys.Disk(cfg.Service, uid) {
		t.Errorf("the ledger holds %+v", committed)
	}
	// Another instance of the same image is as welcome, with its own id only.
	second := cfg
	second.InstanceID = strings.Repeat("7", 32)
	if g := w.granted(w.release(boot(t, root, second))); g.VmUid != second.InstanceID || g.Image != 0 {
		t.Errorf("second instance: %+v", g)
	}
}

// TestB4_ChangedConfigIsRefusedWithReason: whatever the host changes in the
// config, a machine that measured it gets no key, and the owner reads what.
func TestB4_ChangedConfigIsRefusedWithReason(t *testing.T) {
	w := softWorld(t)
	cfg := w.service()
	files := vm.HashOf([]byte("files"))
	otherGroup := strings.Repeat("a0", keys.PublicKeySize)
	for _, tt := range []struct {
		name   string
		change func(*vm.Config)
		code   vm.Code
		field  string
	}{
		{"compose file", func(c *vm.Config) { c.ComposeHash = vm.HashOf([]byte("evil")) }, vm.CodeCompose, "compose_hash"},
		{"files archive", func(c *vm.Config) { c.FilesHash = &files }, vm.CodeConfig, "files_hash"},
		{"storage mode", func(c *vm.Config) { c.Disk.Ephemeral = true }, vm.CodeConfig, "disk"},
		{"open endpoints", func(c *vm.Config) { c.Open = []string{"compose", "logs"} }, vm.CodeConfig, "open"},
		{"image policy", func(c *vm.Config) { c.Images = "tag" }, vm.CodeConfig, "images"},
		{"GPU policy", func(c *vm.Config) { c.GPU = "attest" }, vm.CodeConfig, "gpu"},
		{"egress", func(c *vm.Config) { c.Egress = []string{"evil:443"} }, vm.CodeConfig, "egress"},
		{"chain", func(c *vm.Config) { c.KMS.ChainID = "other" }, vm.CodeConfig, "kms.chain_id"},
		{"group key", func(c *vm.Config) { c.KMS.GroupKey = otherGroup }, vm.CodeConfig, "kms.group_key"},
		{"template", func(c *vm.Config) { c.InstanceID = vm.NoInstance }, vm.CodeConfig, "instance_id"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			changed := cfg
			tt.change(&changed)
			refusal := w.refused(w.release(boot(t, root, changed)), tt.code)
			if refusal.Field != tt.field || refusal.Found == "" || refusal.Wanted == "" || refusal.Reason == "" {
				t.Errorf("refusal is %+v, want it to name %s with both values", refusal, tt.field)
			}
		})
	}
	t.Run("instance id of another machine", func(t *testing.T) {
		changed := cfg
		changed.InstanceID = strings.Repeat("9", 32)
		msg := w.release(boot(t, root, changed))
		msg.VmUid, msg.Keys[0].Scope = uid, keys.InstanceScope(uid)
		w.refused(msg, vm.CodeConfig)
	})
	t.Run("service of the config is not the one asked for", func(t *testing.T) {
		if code, text := w.send(w.other, &types.MsgCreateService{Owner: w.other.Address, Name: "web"}, &types.MsgCreateServiceResponse{}); code != "" {
			t.Fatal(code, text)
		}
		msg := w.release(boot(t, root, cfg))
		msg.Service = w.other.Address + "/web"
		msg.Keys[0].Service = msg.Service
		w.refused(msg, vm.CodeConfig)
	})
	t.Run("config shown is not the one launched with", func(t *testing.T) {
		p, err := pki()
		must(t, err)
		changed := cfg
		changed.Images = "tag"
		at := launch
		at.MRConfigID, err = changed.ConfigID()
		must(t, err)
		events, err := vm.BootEvents(root, cfg)
		must(t, err)
		refusal := w.refused(w.release(bootWith(t, p, at, cfg, events)), vm.CodeConfig)
		if refusal.Field != "mr_config_id" {
			t.Errorf("refusal is %+v", refusal)
		}
	})
	t.Run("unchanged", func(t *testing.T) {
		w.granted(w.release(boot(t, root, cfg)))
	})
}

// TestK1_AnotherRegisterIsRefused: one bit of one register is another image, and
// the refusal names the register.
func TestK1_AnotherRegisterIsRefused(t *testing.T) {
	w := softWorld(t)
	cfg := w.service()
	p, err := pki()
	must(t, err)
	events, err := vm.BootEvents(root, cfg)
	must(t, err)
	id, err := cfg.ConfigID()
	must(t, err)
	for i, name := range []string{"mrtd", "rtmr0", "rtmr1", "rtmr2"} {
		t.Run(name, func(t *testing.T) {
			at := launch
			at.MRConfigID = id
			if i == 0 {
				at.MRTD[47] ^= 1
			} else {
				at.RTMR[i-1][47] ^= 1
			}
			refusal := w.refused(w.release(bootWith(t, p, at, cfg, events)), vm.CodeImage)
			if refusal.Field != name || !strings.Contains(refusal.Reason, "image 0") {
				t.Errorf("refusal is %+v, want it to name %s of image 0", refusal, name)
			}
		})
	}
	t.Run("root file system", func(t *testing.T) {
		refusal := w.refused(w.release(boot(t, vm.HashOf([]byte("other rootfs")), cfg)), vm.CodeImage)
		if refusal.Field != vm.EventImage {
			t.Errorf("refusal is %+v, want it to name %s", refusal, vm.EventImage)
		}
	})
	t.Run("no images", func(t *testing.T) {
		if code, text := w.send(w.owner, &types.MsgCreateService{Owner: w.owner.Address, Name: "empty"}, &types.MsgCreateServiceResponse{}); code != "" {
			t.Fatal(code, text)
		}
		other := cfg
		other.Service = w.owner.Address + "/empty"
		w.refused(w.release(boot(t, root, other)), vm.CodeImage)
	})
	t.Run("registered without explanation", func(t *testing.T) {
		plain := w.image(cfg)
		if code, text := w.send(w.owner, &types.MsgCreateService{Owner: w.owner.Address, Name: "plain"}, &types.MsgCreateServiceResponse{}); code != "" {
			t.Fatal(code, text)
		}
		at := cfg
		at.Service = w.owner.Address + "/plain"
		plain.Service, plain.RootHash, plain.Template = at.Service, nil, nil
		rtmr3 := replay(t, root, at.Template())
		plain.Rtmr3 = rtmr3[:]
		if code, text := w.send(w.owner, plain, &types.MsgAddImageResponse{}); code != "" {
			t.Fatal(code, text)
		}
		w.granted(w.release(boot(t, root, at)))
		at.ComposeHash = vm.HashOf([]byte("evil"))
		refusal := w.refused(w.release(boot(t, root, at)), vm.CodeImage)
		if !strings.Contains(refusal.Reason, "compose-hash") {
			t.Errorf("refusal is %+v", refusal)
		}
	})
}

// TestB7_EventListsAreExact: no event more, fewer or other than the config's.
func TestB7_EventListsAreExact(t *testing.T) {
	w := softWorld(t)
	cfg := w.service()
	p, err := pki()
	must(t, err)
	at := launch
	at.MRConfigID, err = cfg.ConfigID()
	must(t, err)
	right, err := vm.BootEvents(root, cfg)
	must(t, err)
	n := len(right)
	for _, tt := range []struct {
		name   string
		events []vm.Event
		code   vm.Code
	}{
		{"after boot-complete", append(right[:n:n], vm.RuntimeEvent("os-image-hash", root[:])), vm.CodeEvents},
		{"without boot-complete", right[:n-1], vm.CodeEvents},
		{"none", nil, vm.CodeEvents},
		{"swapped", []vm.Event{right[1], right[0], right[2], right[3]}, vm.CodeEvents},
		{"another compose hash", []vm.Event{right[0], vm.RuntimeEvent(vm.EventCompose, bytes.Repeat([]byte{1}, 32)), right[2], right[3]}, vm.CodeCompose},
		{"another config hash", []vm.Event{right[0], right[1], vm.RuntimeEvent(vm.EventConfig, bytes.Repeat([]byte{1}, 32)), right[3]}, vm.CodeConfig},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w.refused(w.release(bootWith(t, p, at, cfg, tt.events)), tt.code)
		})
	}
	t.Run("list does not explain the register", func(t *testing.T) {
		msg := w.release(bootWith(t, p, at, cfg, right[:n-1]))
		msg.Events = append(msg.Events, types.Event{Name: vm.EventBootComplete})
		w.refused(msg, vm.CodeEvents)
	})
}

func TestB5_DebugIsRefused(t *testing.T) {
	w := softWorld(t)
	m := boot(t, root, w.service())
	m.Attributes |= tdx.AttributeDebug
	w.refused(w.release(m), vm.CodeDebug)
}

// TestS1_SoftEvidenceIsRefusedByDefault: a chain whose genesis does not name the
// development root gives nothing to soft evidence.
func TestS1_SoftEvidenceIsRefusedByDefault(t *testing.T) {
	w := newWorld(t, types.TrustIntel)
	w.refused(w.release(boot(t, root, w.service())), vm.CodeChain)

	// Nor does one that names another installation's root.
	stranger, err := emulator.NewPKI(time.Now())
	must(t, err)
	w = newWorld(t, types.TrustIntel, string(stranger.RootPEM()))
	w.refused(w.release(boot(t, root, w.service())), vm.CodeChain)
}

func TestK2_ReplayedReleaseIsRefused(t *testing.T) {
	w := softWorld(t)
	msg := w.release(boot(t, root, w.service()))
	first := w.granted(msg)
	refusal := w.refused(msg, vm.CodeReplayed)
	if !strings.Contains(refusal.Reason, hexOf(first.Id)) {
		t.Errorf("refusal is %+v, want it to name the grant", refusal)
	}
	// Other keys asked for with the same quote are the same release.
	msg.Keys = types.FromIDs([]keys.ID{{Service: msg.Service, Scope: keys.ScopeService, Name: "env"}})
	w.refused(msg, vm.CodeReplayed)
}

func TestK2_OldBlockIsRefused(t *testing.T) {
	t.Run("too many blocks ago", func(t *testing.T) {
		w := softWorld(t)
		msg := w.release(boot(t, root, w.service()))
		for range 101 {
			w.block()
		}
		w.refused(msg, vm.CodeStale)
	})
	t.Run("too long ago", func(t *testing.T) {
		w := softWorld(t)
		msg := w.release(boot(t, root, w.service()))
		w.now = w.now.Add(time.Hour)
		w.refused(msg, vm.CodeStale)
	})
	t.Run("just recent enough", func(t *testing.T) {
		w := softWorld(t)
		msg := w.release(boot(t, root, w.service()))
		for w.height < msg.Height+99 {
			w.block()
		}
		w.granted(msg)
	})
	t.Run("unknown hash", func(t *testing.T) {
		w := softWorld(t)
		msg := w.release(boot(t, root, w.service()))
		msg.BlockHash = bytes.Repeat([]byte{7}, 32)
		w.refused(msg, vm.CodeStale)
	})
	t.Run("block of the future", func(t *testing.T) {
		w := softWorld(t)
		msg := w.release(boot(t, root, w.service()))
		msg.Height = w.height + 5
		w.refused(msg, vm.CodeStale)
	})
}

// TestK2_QuoteIsBoundToTheRequest: a relay cannot put its own keys, or another
// machine's, under somebody's quote.
func TestK2_QuoteIsBoundToTheRequest(t *testing.T) {
	w := softWorld(t)
	cfg := w.service()
	attacker, err := keys.NewRecipient()
	must(t, err)
	msg := w.release(boot(t, root, cfg))
	msg.HpkeKey = attacker.Public()
	w.refused(msg, vm.CodeReportData)
	msg = w.release(boot(t, root, cfg))
	msg.SessionKey = bytes.Repeat([]byte{1}, 32)
	w.refused(msg, vm.CodeReportData)
	msg = w.release(boot(t, root, cfg))
	msg.Quote = bytes.Clone(msg.Quote)
	msg.Quote[len(msg.Quote)/2] ^= 1
	if _, refusal, _ := w.decide(msg); refusal == nil {
		t.Error("a damaged quote was not refused")
	}
}
