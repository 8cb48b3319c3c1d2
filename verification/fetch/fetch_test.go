package fetch_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/secretvm/secretvm/verification"
	"github.com/secretvm/secretvm/verification/fetch"
	"github.com/secretvm/secretvm/verification/machinetest"
	"github.com/secretvm/secretvm/vm"
)

func address(t *testing.T, url string) verification.Address {
	t.Helper()
	a, err := verification.ParseAddress(url)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// everything is a caller who wants just this machine.
func everything(m *machinetest.Machine) verification.Wanted {
	return verification.Wanted{
		Compose: m.Compose, Files: m.Files, Manifest: &m.Manifest, Service: m.Config.Service, GroupKey: m.Config.KMS.GroupKey,
		Roots: m.Roots(), Time: time.Now(),
	}
}

func TestFetchAndAppraise(t *testing.T) {
	m := machinetest.Boot(t)
	s, url := m.Serve(t, nil)
	for range 2 {
		a, err := fetch.Fetch(t.Context(), address(t, url))
		if err != nil {
			t.Fatal(err)
		}
		if a.TLSKey != s.TLSKey() || len(a.Nonce) != verification.NonceSize {
			t.Errorf("key %s, want %s; nonce %x", a.TLSKey, s.TLSKey(), a.Nonce)
		}
		r := verification.Appraise(a, everything(m))
		if r.Verdict != verification.Verified || !strings.HasPrefix(r.Check("connection").Detail, "exporter bound, key sha256 ") {
			t.Errorf("%s: %s; connection: %+v", r.Verdict, r.Summary, r.Check("connection"))
		}
		var kept bytes.Buffer // the same verdict from a bundle
		if err := verification.WriteBundle(&kept, a, everything(m), r); err != nil {
			t.Fatal(err)
		}
		again, want, err := verification.OpenBundle(kept.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		want.Roots = m.Roots()
		if r := verification.Appraise(again, want); r.Verdict != verification.Verified || !strings.HasPrefix(r.Check("connection").Detail, "exporter bound") {
			t.Errorf("from a bundle: %s: %s; connection: %+v", r.Verdict, r.Summary, r.Check("connection"))
		}
	}
}

// TestA3_RelayOverAnotherKey puts a proxy with a key of its own in front of a
// genuine machine and passes everything through.
func TestA3_RelayOverAnotherKey(t *testing.T) {
	m := machinetest.Boot(t)
	_, url := m.Serve(t, nil)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer client.CloseIdleConnections()
	relay := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		resp, err := client.Get(url + r.URL.String())
		if err != nil {
			t.Error(err)
			return
		}
		defer resp.Body.Close()
		if _, err := io.Copy(w, resp.Body); err != nil {
			t.Error(err)
		}
	}))
	defer relay.Close()
	a, err := fetch.Fetch(t.Context(), address(t, relay.URL))
	if err != nil {
		t.Fatal(err)
	}
	r := verification.Appraise(a, everything(m))
	if c := r.Check("connection"); r.Verdict != verification.NotVerified || c.OK != verification.Fails || c.Code != vm.CodeReportData {
		t.Errorf("%s, connection: %+v", r.Verdict, c)
	}
	if c := r.Check("fresh"); c.OK != verification.Holds {
		t.Errorf("fresh: %+v", c)
	}
}

// TestA3_RelayWithTheStolenKey: who has the machine's TLS key, and is not the
// machine, can pass nothing on that binds a connection; and quotes that bind
// none are not enough.
func TestA3_RelayWithTheStolenKey(t *testing.T) {
	m := machinetest.Boot(t)
	s, url := m.Serve(t, nil)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer client.CloseIdleConnections()
	for _, strip := range []bool{false, true} {
		relay := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			path := r.URL.String()
			if strip { // asks for a quote about the key alone
				path = strings.Replace(path, "&binding=tls-exporter", "", 1)
			}
			resp, err := client.Get(url + path)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			if _, err := io.Copy(w, resp.Body); err != nil {
				t.Error(err)
			}
		}))
		relay.StartTLS()
		a, err := fetch.Fetch(t.Context(), address(t, relay.URL))
		relay.Close()
		if err != nil {
			t.Fatal(err)
		}
		a.TLSKey = s.TLSKey() // as if the relay had shown the machine's certificate and proved its key
		r := verification.Appraise(a, everything(m))
		if c := r.Check("connection"); r.Verdict != verification.NotVerified || c.Code != vm.CodeReportData || !strings.Contains(c.What, "not about this connection") {
			t.Errorf("strip %v: %s, connection: %+v", strip, r.Verdict, c)
		}
		if c := r.Check("fresh"); c.OK != verification.Holds {
			t.Errorf("strip %v: fresh: %+v", strip, c)
		}
	}
}

// TestA3_NeverTwoConnections: a server that ends the connection in the middle
// cannot make the verifier ask for the rest over another one.
func TestA3_NeverTwoConnections(t *testing.T) {
	var connections atomic.Int32
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close")
		fmt.Fprint(w, `{"nonce":"","tls_key":"`+strings.Repeat("0", 64)+`","evidence":{}}`)
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	s.StartTLS()
	defer s.Close()
	_, err := fetch.Fetch(t.Context(), address(t, s.URL))
	if vm.CodeOf(err) != vm.CodeUnavailable || !strings.Contains(fmt.Sprint(err), "ended the connection") {
		t.Errorf("Fetch: %v", err)
	}
	if n := connections.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

// staleQuoter answers every request with the first quote it made.
type staleQuoter struct {
	m     *machinetest.Machine
	first *vm.Evidence
}

func (q *staleQuoter) Quote(ctx context.Context, rd [64]byte) (vm.Evidence, error) {
	if bytes.Equal(rd[32:], make([]byte, 32)) { // for the certificate
		return q.m.Quote(ctx, rd)
	}
	if q.first == nil {
		ev, err := q.m.Quote(ctx, rd)
		if err != nil {
			return ev, err
		}
		q.first = &ev
	}
	return *q.first, nil
}

func TestA1_ReplayOverTheWire(t *testing.T) {
	m := machinetest.Boot(t)
	_, url := m.Serve(t, &staleQuoter{m: m})
	for i, want := range []string{verification.Verified, verification.NotVerified} {
		a, err := fetch.Fetch(t.Context(), address(t, url))
		if err != nil {
			t.Fatal(err)
		}
		if r := verification.Appraise(a, everything(m)); r.Verdict != want {
			t.Errorf("request %d: %s (%s), want %s", i, r.Verdict, r.Summary, want)
		}
	}
}

func TestFetchRefuses(t *testing.T) {
	good := `{"nonce":"00","tls_key":"` + strings.Repeat("0", 64) + `","evidence":{}}`
	body := func(s string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, s) }
	}
	for _, c := range []struct {
		name    string
		serve   http.HandlerFunc
		code    vm.Code
		wantErr string
	}{
		{"not found", http.NotFound, vm.CodeMalformed, "does not answer as an attestation service"},
		{"redirect", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) }, vm.CodeMalformed, "Found"},
		{"a web page", body("<html>"), vm.CodeMalformed, "not an attestation"},
		{"trailing bytes", body(good + "x"), vm.CodeMalformed, "trailing"},
		{"huge nonce", body(strings.Replace(good, `"00"`, `"`+strings.Repeat("0", 200)+`"`, 1)), vm.CodeMalformed, "200 characters"},
		{"too many events", body(strings.Replace(good, `{}`, `{"events":[`+strings.Repeat(`{"register":3},`, vm.MaxEvents)+`{}]}`, 1)), vm.CodeMalformed, "257 events"},
		{"huge body", body(strings.Repeat("x", 9<<20)), vm.CodeTooLarge, "more than"},
		{"endless headers", func(w http.ResponseWriter, _ *http.Request) {
			for i := range 3000 {
				w.Header().Set(fmt.Sprintf("X-%d", i), strings.Repeat("x", 1000))
			}
		}, vm.CodeTooLarge, "more than it should"},
		{"busy for ever", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }, vm.CodeUnavailable, "busy"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := httptest.NewTLSServer(c.serve)
			defer s.Close()
			_, err := fetch.Fetch(t.Context(), address(t, s.URL))
			if vm.CodeOf(err) != c.code || !strings.Contains(fmt.Sprint(err), c.wantErr) {
				t.Errorf("Fetch: %v, want %q [%s]", err, c.wantErr, c.code)
			}
		})
	}
}

// TestFetchAsksABusyServiceAgain: a service whose queue was full for a moment.
func TestFetchAsksABusyServiceAgain(t *testing.T) {
	m := machinetest.Boot(t)
	_, url := m.Serve(t, nil)
	var asked atomic.Int32
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer client.CloseIdleConnections()
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		resp, err := client.Get(url + r.URL.String())
		if err != nil {
			t.Error(err)
			return
		}
		defer resp.Body.Close()
		_, _ = io.Copy(w, resp.Body)
	}))
	defer s.Close()
	if _, err := fetch.Fetch(t.Context(), address(t, s.URL)); err != nil {
		t.Error(err)
	}
}

func TestFetchUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := "https://" + l.Addr().String()
	l.Close()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts, never speaks
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	for _, c := range []struct {
		name, url string
		code      vm.Code
		hint      string
	}{
		{"nothing listens", closed, vm.CodeUnavailable, "is the machine up"},
		{"silence", "https://" + silent.Addr().String(), vm.CodeUnavailable, "--timeout"},
		{"not TLS", strings.Replace(plain.URL, "http:", "https:", 1), vm.CodeMalformed, "29343"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			_, err := fetch.Fetch(ctx, address(t, c.url))
			r := verification.Unanswered(address(t, c.url), err, time.Now())
			refusal := r.Check("connection").Refusal
			if refusal == nil || refusal.Code != c.code || !strings.Contains(refusal.Hint, c.hint) {
				t.Errorf("refusal is %+v, want code %s and hint %q", refusal, c.code, c.hint)
			}
			if unreachable := r.Verdict == verification.Unreachable; unreachable != (c.code == vm.CodeUnavailable) {
				t.Errorf("verdict is %s", r.Verdict)
			}
		})
	}
}
