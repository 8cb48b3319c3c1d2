package attestd

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/secretvm/secretvm/guest/attestation"
	"github.com/secretvm/secretvm/step"
	"github.com/secretvm/secretvm/vm"
)

const composeFile = "services:\n  web: {image: \"x\"}\n"

// echoQuoter is a quoter whose quote is the report data, so that tests see
// what was bound. Real quotes are tested where they are verified.
type echoQuoter struct {
	calls atomic.Int32  // but for the certificate's
	hold  chan struct{} // a quote waits until it is closed; nil: no wait
	err   error
	spki  vm.Hash // of the server
}

func (q *echoQuoter) Quote(_ context.Context, rd [64]byte) (vm.Evidence, error) {
	if bytes.Equal(rd[32:], make([]byte, 32)) && !bytes.Equal(rd[:32], q.spki[:]) { // the certificate's
		return vm.Evidence{TEE: vm.Soft, Quote: rd[:]}, q.err
	}
	q.calls.Add(1)
	if q.hold != nil {
		<-q.hold
	}
	return vm.Evidence{TEE: vm.Soft, Quote: rd[:]}, q.err
}

func testOptions(t testing.TB, open ...string) Options {
	t.Helper()
	cfg := vm.Config{
		Version: 1, ComposeHash: vm.HashOf([]byte(composeFile)), Service: "svm1owner/guestbook",
		KMS:        vm.KMS{ChainID: "secretvm-local", GroupKey: strings.Repeat("8a", 96)},
		InstanceID: strings.Repeat("ab", 16), TLS: "self", Images: "digest", GPU: "none", Open: open,
	}
	return measuredOptions(t, cfg)
}

// measuredOptions are those of a machine that has measured cfg.
func measuredOptions(t testing.TB, cfg vm.Config) Options {
	t.Helper()
	canonical, err := cfg.Canonical()
	if err != nil {
		t.Fatal(err)
	}
	events, err := vm.BootEvents(vm.HashOf([]byte("root")), cfg)
	if err != nil {
		t.Fatal(err)
	}
	rtmr, err := vm.Replay(events)
	if err != nil {
		t.Fatal(err)
	}
	id, err := cfg.ConfigID()
	if err != nil {
		t.Fatal(err)
	}
	key, err := attestation.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return quoting(Options{
		Key: key, TEE: vm.Soft, Config: canonical, Compose: []byte(composeFile), Events: events,
		Measurement: vm.Measurement{RTMR: rtmr, MRConfigID: id},
		Status: func() Status {
			return Status{Workload: "running", Steps: []step.Result{
				{Name: "measure", Took: 1234 * time.Millisecond, Remark: "a remark for the console"},
				{Name: "disk", Took: time.Millisecond, Error: "an error for the console [expired]"},
			}}
		},
	}, &echoQuoter{spki: key.SPKI})
}

// quoting gives options a TEE.
func quoting(opt Options, q attestation.Quoter) Options {
	return signing(opt, q, nil, nil)
}

// signing gives them one, GPUs beside it and the API of containers as well.
func signing(opt Options, q, gpus attestation.Quoter, containers attestation.Signing) Options {
	opt.Quotes = machined{
		attestation.NewQuotes(q, gpus, opt.Key.SPKI, attestation.Claims(opt.Key.SPKI, opt.TEE, opt.Events), containers), q,
	}
	return opt
}

// machined is guestd's side, with the TEE in sight.
type machined struct {
	Quotes
	tee attestation.Quoter
}

// calls is how often the echo was asked.
func (o Options) calls() int32 { return o.Quotes.(machined).tee.(*echoQuoter).calls.Load() }

// serve starts a server on a loopback port and returns its URL and a client
// that checks nothing but records nothing either: tests look at the TLS state.
func serve(t *testing.T, opt Options) (*Server, string, *http.Client) {
	t.Helper()
	s, err := New(opt)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return s, "https://" + l.Addr().String(), &http.Client{Transport: transport, Timeout: 20 * time.Second}
}

func get(t *testing.T, c *http.Client, url string) (*http.Response, string) {
	t.Helper()
	resp, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

func TestEndpoints(t *testing.T) {
	opt := testOptions(t, "compose")
	s, url, client := serve(t, opt)
	events, _ := json.Marshal(opt.Events)
	key := s.TLSKey()
	rd := append(key[:], make([]byte, 32)...)
	for _, c := range []struct {
		path, contentType, body string
		status                  int
		contains                bool
	}{
		{"/healthz", typeText, "ok\n", 200, false},
		{"/config", typeJSON, string(opt.Config), 200, false},
		{"/.well-known/config", typeJSON, string(opt.Config), 200, false},
		{"/events", typeJSON, string(events) + "\n", 200, false},
		{"/docker-compose", typeText, composeFile, 200, false},
		{"/cpu", typeText, hexLine(rd[:]), 200, false},
		{"/", typeHTML, "secretvm verify \\\n  " + url, 200, true},
		{"/.well-known/", typeHTML, "svm1owner/guestbook", 200, true},
		{"/status", typeJSON, `"boot":[{"step":"measure","state":"ok","ms":1234},{"step":"disk","state":"failed","ms":1,"code":"expired"}]`, 200, true},
		{"/status", typeJSON, `"status":"server_alive"`, 200, true},
		{"/status", typeJSON, `"env":"dev"`, 200, true},
		{"/nothing", typeJSON, `"error":"there is no such page`, 404, true},
		{"/config/x", typeJSON, `"error"`, 404, true},
	} {
		resp, body := get(t, client, url+c.path)
		if resp.StatusCode != c.status || resp.Header.Get("Content-Type") != c.contentType {
			t.Errorf("GET %s: %d %s, want %d %s", c.path, resp.StatusCode, resp.Header.Get("Content-Type"), c.status, c.contentType)
		}
		if ok := body == c.body || c.contains && strings.Contains(body, c.body); !ok {
			t.Errorf("GET %s: %q, want %q", c.path, body, c.body)
		}
		if strings.Contains(body, "for the console") {
			t.Errorf("GET %s: tells strangers a remark or an error of the boot", c.path)
		}
	}
}

func TestHeadersAndMethods(t *testing.T) {
	_, url, client := serve(t, testOptions(t))
	resp, _ := get(t, client, url+"/")
	for name, want := range map[string]string{
		"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer",
		"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Credentials": "", // the browser verifier asks from another origin, and never as somebody
	} {
		if got := resp.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if got := resp.Header.Get("Content-Security-Policy"); !strings.HasPrefix(got, "default-src 'none'; style-src 'sha256-") {
		t.Errorf("Content-Security-Policy is %q", got)
	}
	for _, c := range []struct {
		method, body string
		status       int
	}{
		{"POST", "", 405}, {"DELETE", "", 405}, {"HEAD", "", 405}, {"OPTIONS", "", 204}, {"GET", "a body", 413},
	} {
		req, err := http.NewRequestWithContext(t.Context(), c.method, url+"/status", strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != c.status {
			t.Errorf("%s /status: %d, want %d", c.method, resp.StatusCode, c.status)
		}
	}
}

func TestNewRefusesWhatWasNotMeasured(t *testing.T) {
	for _, c := range []struct {
		name    string
		change  func(*Options)
		wantErr string
	}{
		{"no quotes", func(o *Options) { o.Quotes = nil }, "no quotes"},
		{"no key", func(o *Options) { o.Key = attestation.Key{} }, "no key"},
		{"other compose file", func(o *Options) { o.Compose = []byte("services: {}\n") }, "[compose-mismatch]"},
		{"other register", func(o *Options) { o.Measurement.MRConfigID[0] ^= 1 }, "[config-mismatch]"},
		{"config with white space", func(o *Options) { o.Config = append([]byte(" "), o.Config...) }, "canonical"},
		{"missing event", func(o *Options) { o.Events = o.Events[:3] }, "[events]"},
	} {
		opt := testOptions(t)
		c.change(&opt)
		if _, err := New(opt); err == nil || !strings.Contains(err.Error(), c.wantErr) {
			t.Errorf("%s: New returned %v, want %q", c.name, err, c.wantErr)
		}
	}
}

// TestA2_KeyIsPerBoot: each start has its own key, TLS 1.3 shows that very key,
// and the certificate is renewed under it.
func TestA2_KeyIsPerBoot(t *testing.T) {
	s, url, client := serve(t, testOptions(t))
	resp, _ := get(t, client, url+"/healthz")
	leaf := resp.TLS.PeerCertificates[0]
	if got := vm.HashOf(leaf.RawSubjectPublicKeyInfo); got != s.TLSKey() {
		t.Errorf("the connection shows key %s, the server says %s", got, s.TLSKey())
	}
	if resp.TLS.Version != tls.VersionTLS13 {
		t.Errorf("TLS version %x, want 1.3", resp.TLS.Version)
	}
	old := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}}}
	if _, err := old.Get(url + "/healthz"); err == nil {
		t.Error("TLS 1.2 was accepted")
	}
	other, err := New(testOptions(t))
	if err != nil {
		t.Fatal(err)
	}
	if other.TLSKey() == s.TLSKey() {
		t.Error("two boots have one key")
	}
	first, err := s.key.current()
	if err != nil {
		t.Fatal(err)
	}
	s.key.mu.Lock()
	s.key.now = func() time.Time { return time.Now().Add(certificateLife - certificateSlop/2) }
	s.key.mu.Unlock()
	second, err := s.key.current()
	if err != nil {
		t.Fatal(err)
	}
	if first == second || vm.HashOf(second.Leaf.RawSubjectPublicKeyInfo) != s.TLSKey() {
		t.Error("the certificate is not renewed under the same key")
	}
	pool := x509.NewCertPool()
	pool.AddCert(second.Leaf)
	if _, err := second.Leaf.Verify(x509.VerifyOptions{DNSName: "attestation.secretvm.invalid", Roots: pool, CurrentTime: s.key.now()}); err != nil {
		t.Errorf("the renewed certificate: %v", err)
	}
}

func TestServeReportsAClosedListener(t *testing.T) {
	s, err := New(testOptions(t))
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := s.Serve(t.Context(), l); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve on a closed listener: %v", err)
	}
}
