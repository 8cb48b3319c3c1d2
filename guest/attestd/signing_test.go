package attestd

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/secretvm/secretvm/vm"
)

// containers is an API that has keys and a log.
type containers struct{ events []vm.Event }

func (containers) PublicKey(kind string) ([]byte, [64]byte) {
	if kind == vm.SignSecp256k1 {
		return nil, [64]byte{}
	}
	return []byte("-----BEGIN PUBLIC KEY-----\n"), vm.SigningReportData([]byte("the raw key, of 32 bytes exactly"))
}

func (c containers) Application() (vm.Register, []vm.Event) {
	r, err := vm.ReplayApplication(c.events)
	if err != nil {
		panic(err)
	}
	return r, c.events
}

// keyQuoter counts quotes about the key.
type keyQuoter struct {
	echoQuoter
	keys atomic.Int32
}

func (q *keyQuoter) Quote(ctx context.Context, rd [64]byte) (vm.Evidence, error) {
	if rd == vm.SigningReportData([]byte("the raw key, of 32 bytes exactly")) {
		q.keys.Add(1)
	}
	return q.echoQuoter.Quote(ctx, rd)
}

func TestSigning(t *testing.T) {
	cfg, err := vm.ParseConfig(testOptions(t).Config)
	if err != nil {
		t.Fatal(err)
	}
	cfg.API = vm.API{"web": {"event", "sign/ed25519"}}
	opt := measuredOptions(t, cfg)
	api := containers{[]vm.Event{vm.ApplicationEvent("web", "started", []byte("1"))}}
	opt.Status = func() Status {
		public, _ := api.PublicKey(vm.SignEd25519)
		return Status{Keys: map[string][]byte{vm.SignEd25519: public}}
	}
	quoter := &keyQuoter{}
	opt = signing(opt, quoter, nil, api)
	_, url, client := serve(t, opt)
	if resp, body := get(t, client, url+"/publickey_ed25519"); resp.StatusCode != http.StatusOK || !strings.HasPrefix(body, "-----BEGIN PUBLIC KEY-----") {
		t.Errorf("key: %d %s", resp.StatusCode, body)
	}
	for _, path := range []string{"/publickey_secp256k1", "/attestation_secp256k1"} {
		if resp, body := get(t, client, url+path); resp.StatusCode != http.StatusNotFound || !strings.Contains(body, "no secp256k1 key") {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}
	want := vm.SigningReportData([]byte("the raw key, of 32 bytes exactly"))
	for range 3 {
		if resp, body := get(t, client, url+"/attestation_ed25519"); resp.StatusCode != http.StatusOK || strings.TrimSpace(body) != hex.EncodeToString(want[:]) {
			t.Errorf("quote about the key: %d %s", resp.StatusCode, body)
		}
	}
	if n := quoter.keys.Load(); n != 1 {
		t.Errorf("%d quotes were made about the key, want one a minute", n)
	}
	nonce := strings.Repeat("5a", 32)
	resp, body := get(t, client, url+"/application?nonce="+nonce)
	var a vm.Application
	if err := json.Unmarshal([]byte(body), &a); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("log: %d %s %v", resp.StatusCode, body, err)
	}
	register, err := vm.ReplayApplication(a.Events)
	if err != nil || register != a.Register || a.Nonce != nonce || len(a.Events) != 1 || len(a.Evidence.Events) == 0 {
		t.Errorf("log is %+v, %v", a, err)
	}
	raw, _ := hex.DecodeString(nonce)
	if want := vm.ApplicationReportData(register, raw); string(a.Evidence.Quote) != string(want[:]) {
		t.Errorf("the quote is about %x, want %x", a.Evidence.Quote, want)
	}
	if resp, _ := get(t, client, url+"/application"); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("without a nonce: %d", resp.StatusCode)
	}
}
