package api_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"

	"github.com/secretvm/secretvm/attest"
	"github.com/secretvm/secretvm/guest/api"
	"github.com/secretvm/secretvm/guest/api/proof"
	"github.com/secretvm/secretvm/guest/keys/release"
	"github.com/secretvm/secretvm/guestapi"
	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/verification/machinetest"
	"github.com/secretvm/secretvm/vm"
)

// group is a key manager without its chain: it shares a secret 2 of 3 and
// releases to a machine what the machine's API wants.
type group struct {
	commitments keys.Commitments
	shares      []keys.Share
}

func newGroup(t *testing.T) *group {
	t.Helper()
	c, shares, err := keys.Split(rand.Reader, 2, 3)
	if err != nil {
		t.Fatal(err)
	}
	return &group{c, shares}
}

// released is what one machine got.
type released struct {
	cfg  vm.Config
	keys map[keys.ID]keys.Secret
}

func (r released) Key(name string, epoch uint64) ([]byte, error) {
	id := release.ID(r.cfg, name, epoch)
	secret, ok := r.keys[id]
	if !ok {
		return nil, vm.Refuse(vm.CodePermission, "the release did not ask for key %s", id)
	}
	return secret.Bytes(), nil
}

func (g *group) release(t *testing.T, cfg vm.Config, epochs ...uint64) released {
	t.Helper()
	out := released{cfg, map[keys.ID]keys.Secret{}}
	for _, epoch := range append(epochs, cfg.KMS.Epoch) {
		for _, name := range cfg.API.KeyNames() {
			id := release.ID(cfg, name, epoch)
			if err := id.Validate(); err != nil {
				t.Fatal(err)
			}
			var partials []keys.Partial
			for _, s := range g.shares[:2] {
				p, err := s.Partial(id)
				if err != nil {
					t.Fatal(err)
				}
				partials = append(partials, p)
			}
			sigma, err := keys.Combine(2, partials)
			if err != nil {
				t.Fatal(err)
			}
			if out.keys[id], err = keys.Derive(g.commitments.GroupKey(), id, sigma); err != nil {
				t.Fatal(err)
			}
		}
	}
	return out
}

// machine boots a soft machine of one service with keys of g.
func (g *group) machine(t *testing.T, grants vm.API, change ...func(*machinetest.Spec)) (*machinetest.Machine, *proof.Desk, func(service string) *guestapi.Client) {
	t.Helper()
	m := machinetest.Boot(t, append(change, func(s *machinetest.Spec) {
		s.Config.API, s.Config.KMS.GroupKey = grants, hex.EncodeToString(g.commitments.GroupKey().Bytes())
	})...)
	s, sockets := listen(t, api.Options{Machine: proof.New(m, m.Config), TEE: vm.Soft, Config: m.Config, Events: m.Events, Keys: g.release(t, m.Config)})
	return m, s, func(service string) *guestapi.Client { return guestapi.New(sockets[service]) }
}

func TestKeys(t *testing.T) {
	g := newGroup(t)
	grants := vm.API{"signer": {"key/wallet"}, "web": {"instance-key/session", "key/wallet/alice"}}
	_, _, ask := g.machine(t, grants)
	_, _, askOther := g.machine(t, grants, func(s *machinetest.Spec) { s.Config.InstanceID = strings.Repeat("cd", 16) })
	key := func(get func(context.Context, string) (guestapi.Secret, error), path string) string {
		t.Helper()
		secret, err := get(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		if b := secret.Bytes(); len(b) == 32 && fmt.Sprintf("%v %+v %#v %x %s", secret, secret, secret, secret, secret) == "redacted redacted redacted redacted redacted" {
			return hex.EncodeToString(b)
		}
		t.Fatalf("the key of %s has %d bytes, and prints as %v", path, len(secret.Bytes()), secret)
		return ""
	}
	alice := key(ask("web").Key, "wallet/alice")
	if got := key(ask("signer").Key, "wallet/alice"); got != alice {
		t.Error("a path has two keys on one machine")
	}
	if got := key(askOther("web").Key, "wallet/alice"); got != alice {
		t.Error("a path has two keys in one service")
	}
	wallet := key(ask("signer").Key, "wallet")
	raw, _ := hex.DecodeString(wallet)
	below, err := hkdf.Key(sha256.New, raw, nil, "secretvm/v1/app-key:alice", 32)
	if err != nil || hex.EncodeToString(below) != alice {
		t.Errorf("wallet/alice is %s, documented as %x", alice, below)
	}
	deeper, err := hkdf.Key(sha256.New, below, nil, "secretvm/v1/app-key:eth", 32)
	if err != nil || hex.EncodeToString(deeper) != key(ask("web").Key, "wallet/alice/eth") {
		t.Errorf("wallet/alice/eth is not derived of wallet/alice: %v", err)
	}
	session := key(ask("web").InstanceKey, "session")
	if other := key(askOther("web").InstanceKey, "session"); other == session {
		t.Error("two machines have the same key of their own")
	}
	if session == alice || wallet == alice {
		t.Error("two paths have one key")
	}
}

// TestW2_KeysNeedTheirGrant: a container gets the keys of its own paths alone.
func TestW2_KeysNeedTheirGrant(t *testing.T) {
	g := newGroup(t)
	_, _, ask := g.machine(t, vm.API{"signer": {"key/wallet", "sign/ed25519"}, "web": {"instance-key/session", "key/wallet/alice"}})
	web := ask("web")
	for name, get := range map[string]func() error{
		"a path beside its own":      func() error { _, err := web.Key(t.Context(), "wallet/bob"); return err },
		"the path above its own":     func() error { _, err := web.Key(t.Context(), "wallet"); return err },
		"a path that begins alike":   func() error { _, err := web.Key(t.Context(), "wallet/alice2"); return err },
		"the service's, not its":     func() error { _, err := web.Key(t.Context(), "session"); return err },
		"its own, not the service's": func() error { _, err := web.InstanceKey(t.Context(), "wallet/alice"); return err },
		"a signature":                func() error { _, err := web.Sign(t.Context(), "ed25519", "x"); return err },
		"a signature of the other kind": func() error {
			_, err := ask("signer").Sign(t.Context(), "", "x")
			return err
		},
		"a key that signs": func() error { _, err := web.PublicKey(t.Context(), "ed25519"); return err },
		"an event":         func() error { _, err := web.Event(t.Context(), "x", nil); return err },
		"a quote":          func() error { _, err := web.Quote(t.Context(), nil); return err },
		"the log":          func() error { _, err := web.Application(t.Context(), nil); return err },
	} {
		if err := get(); vm.CodeOf(err) != vm.CodePermission {
			t.Errorf("%s: %v, want %s", name, err, vm.CodePermission)
		}
	}
	for _, path := range []string{"", "/", "/wallet", "wallet/", "wallet//alice", "wallet/alice/../bob", "wallet/alice\x00", "../disk", strings.Repeat("a/", 8) + "a"} {
		if secret, err := web.Key(t.Context(), path); err == nil {
			t.Errorf("path %q has a key: %v", path, secret)
		}
	}
}

// TestEpochs: a container reaches what it kept under the epoch before, and no
// key that the machine did not get.
func TestEpochs(t *testing.T) {
	g := newGroup(t)
	m := machinetest.Boot(t, func(s *machinetest.Spec) {
		key := hex.EncodeToString(g.commitments.GroupKey().Bytes())
		s.Config.KMS = vm.KMS{ChainID: "secretvm-test", GroupKey: key, Epoch: 3, Previous: []vm.EpochKey{{Epoch: 2, GroupKey: key}, {Epoch: 1, GroupKey: key}}}
		s.Config.API = vm.API{"web": {"key/db"}}
	})
	_, sockets := listen(t, api.Options{Machine: proof.New(m, m.Config), Config: m.Config, Events: m.Events, Keys: g.release(t, m.Config, 2)})
	seen := map[string]bool{}
	for epoch, want := range map[string]int{"": 200, "&epoch=3": 200, "&epoch=2": 200, "&epoch=1": 403, "&epoch=x": 400, "&epoch=-1": 400} {
		status, body := get(t, sockets["web"], http.MethodGet, "/key?path=db"+epoch)
		if status != want {
			t.Errorf("%q: %d %s, want %d", epoch, status, body, want)
		}
		if status == 200 {
			seen[body] = true
		}
	}
	if len(seen) != 2 {
		t.Errorf("%d different keys, want 2", len(seen))
	}
}

// TestSign: signatures are what others verify, and each key comes with a quote
// that names it where existing verifiers look.
func TestSign(t *testing.T) {
	m, s, ask := newGroup(t).machine(t, vm.API{"web": {"sign/ed25519", "sign/secp256k1"}})
	const payload = "naïve \" payload <&>"
	public := map[string]guestapi.PublicKey{}
	for _, kind := range []string{"ed25519", "secp256k1"} {
		k, err := ask("web").PublicKey(t.Context(), kind)
		if err != nil {
			t.Fatal(err)
		}
		shown, reportData := s.PublicKey(kind)
		verdict, err := attest.Verify(k.Evidence, attest.Options{Roots: m.Roots(), Time: time.Now()})
		if err != nil || !bytes.Equal(verdict.ReportData, reportData[:]) || string(shown) != k.PEM || k.KeyType != kind {
			t.Errorf("%s: evidence about %x (%v), want %x", kind, verdict.ReportData, err, reportData)
		}
		public[kind] = k
	}
	block, _ := pem.Decode([]byte(public["ed25519"].PEM))
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	signature, err := ask("web").Sign(t.Context(), "ed25519", payload)
	if err != nil || !ed25519.Verify(parsed.(ed25519.PublicKey), []byte(payload), signature) {
		t.Errorf("Ed25519: %x, %v", signature, err)
	}
	if _, rd := s.PublicKey("ed25519"); !bytes.Equal(rd[:32], parsed.(ed25519.PublicKey)) || !bytes.Equal(rd[32:], make([]byte, 32)) {
		t.Errorf("the quote is about %x", rd)
	}
	block, _ = pem.Decode([]byte(public["secp256k1"].PEM))
	point, err := secp256k1.ParsePubKey(block.Bytes[len(block.Bytes)-65:])
	if err != nil {
		t.Fatal(err)
	}
	if signature, err = ask("web").Sign(t.Context(), "", payload); err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256([]byte(payload))
	if parsed, err := ecdsa.ParseDERSignature(signature); err != nil || !parsed.Verify(digest[:], point) {
		t.Errorf("secp256k1: %x, %v", signature, err)
	}
	openssl(t, public, ask("web"), payload)
}

// openssl has a program of others verify the same.
func openssl(t *testing.T, public map[string]guestapi.PublicKey, ask *guestapi.Client, payload string) {
	program, err := exec.LookPath("openssl")
	if err != nil {
		t.Log("there is no openssl to ask")
		return
	}
	for kind, args := range map[string][]string{
		"ed25519":   {"pkeyutl", "-verify", "-pubin", "-inkey", "key", "-rawin", "-in", "payload", "-sigfile", "signature"},
		"secp256k1": {"dgst", "-sha256", "-verify", "key", "-signature", "signature", "payload"},
	} {
		signature, err := ask.Sign(t.Context(), kind, payload)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		for name, b := range map[string][]byte{"key": []byte(public[kind].PEM), "payload": []byte(payload), "signature": signature} {
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.CommandContext(t.Context(), program, args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("openssl does not verify %s: %v: %s", kind, err, out)
		}
	}
}

// TestW2_DomainsAreApart: what is signed in a domain names the service that asked,
// and no service gets a signature that reads as another's.
func TestW2_DomainsAreApart(t *testing.T) {
	_, s, ask := newGroup(t).machine(t, vm.API{"oracle": {"sign/ed25519"}, "web": {"sign/ed25519"}})
	key, _ := s.PublicKey("ed25519")
	block, _ := pem.Decode(key)
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	public := parsed.(ed25519.PublicKey)
	signature, err := ask("oracle").SignIn(t.Context(), "ed25519", "price", "42")
	if err != nil || !ed25519.Verify(public, vm.SignedMessage("oracle", "price", []byte("42")), signature) {
		t.Fatalf("in a domain: %x, %v", signature, err)
	}
	for name, message := range map[string][]byte{
		"another service": vm.SignedMessage("web", "price", []byte("42")), "another domain": vm.SignedMessage("oracle", "pric", []byte("e42")),
		"no domain": []byte("42"), "the empty domain": vm.SignedMessage("oracle", "", []byte("42")),
	} {
		if ed25519.Verify(public, message, signature) {
			t.Errorf("the signature holds for %s", name)
		}
	}
	forged := string(vm.SignedMessage("oracle", "price", []byte("43")))
	if signature, err := ask("web").Sign(t.Context(), "ed25519", forged); vm.CodeOf(err) != vm.CodeInvalid {
		t.Errorf("web signs in oracle's name: %x, %v", signature, err)
	}
	if _, err := ask("web").SignIn(t.Context(), "ed25519", "", ""); err != nil {
		t.Errorf("the empty domain: %v", err)
	}
}

func TestApplicationLog(t *testing.T) {
	m, s, ask := newGroup(t).machine(t, vm.API{"db": {"event"}, "web": {"event", "info", "quote"}})
	web := ask("web")
	if _, err := web.Event(t.Context(), "model-loaded", []byte{1, 2}); err != nil {
		t.Fatal(err)
	}
	logged, err := ask("db").Event(t.Context(), "migrated", nil)
	if err != nil || logged.Events != 2 {
		t.Fatalf("logged %+v, %v", logged, err)
	}
	want := []vm.Event{vm.ApplicationEvent("web", "model-loaded", []byte{1, 2}), vm.ApplicationEvent("db", "migrated", nil)}
	q, err := web.Application(t.Context(), []byte("nonce"))
	if err != nil {
		t.Fatal(err)
	}
	register, err := vm.ReplayApplication(q.ApplicationEvents)
	if err != nil || register != *q.ApplicationRegister || register != logged.ApplicationRegister || fmt.Sprint(q.ApplicationEvents) != fmt.Sprint(want) {
		t.Errorf("log is %+v (%v), want %+v", q.ApplicationEvents, err, want)
	}
	verdict, err := attest.Verify(q.Evidence, attest.Options{Roots: m.Roots(), Time: time.Now()})
	if rd := vm.ApplicationReportData(register, []byte("nonce")); err != nil || !bytes.Equal(verdict.ReportData, rd[:]) {
		t.Errorf("the quote is about %x (%v), want %x", verdict.ReportData, err, rd)
	}
	info, err := web.Info(t.Context())
	if shown, events := s.Application(); err != nil || info.ApplicationRegister != register || shown != register || len(info.ApplicationEvents) != 2 || len(events) != 2 {
		t.Errorf("info says %s (%v), the attestation service %s, want %s", info.ApplicationRegister, err, shown, register)
	}
	if m.TEE.Read().RTMR[vm.RuntimeRegister] != verdict.Measurement.RTMR[vm.RuntimeRegister] {
		t.Error("an application's event changed a register of the TEE")
	}
	for name, e := range map[string]guestapi.Event{
		"no name": {}, "slash": {Name: "a/b"}, "long name": {Name: strings.Repeat("a", 65)}, "large": {Name: "a", Payload: make([]byte, 1025)},
	} {
		if _, err := web.Event(t.Context(), e.Name, e.Payload); vm.CodeOf(err) != vm.CodeInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	// One service cannot take the log from the others.
	for i := 1; ; i++ {
		if _, err := web.Event(t.Context(), "x", nil); err != nil {
			if i != vm.MaxServiceEvents || vm.CodeOf(err) != vm.CodeTooLarge {
				t.Errorf("after %d events: %v", i, err)
			}
			break
		}
	}
	if _, err := ask("db").Event(t.Context(), "x", nil); err != nil {
		t.Errorf("the log is full for others: %v", err)
	}
}
