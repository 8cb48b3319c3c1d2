package attestd

import (
	"bytes"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/secretvm/secretvm/vm"
)

func hexLine(b []byte) string { return hex.EncodeToString(b) + "\n" }

// TestA1_NonceIsInTheReportData: each nonce gets its own quote, over that
// nonce and this server's key.
func TestA1_NonceIsInTheReportData(t *testing.T) {
	opt := testOptions(t)
	s, url, client := serve(t, opt)
	for _, size := range []int{vm.MinNonceSize, 32, vm.MaxNonceSize} {
		nonce := bytes.Repeat([]byte{byte(size)}, size)
		resp, body := get(t, client, url+"/attestation?nonce="+hex.EncodeToString(nonce))
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("nonce of %d bytes: %d %s", size, resp.StatusCode, body)
		}
		var answer vm.Attestation
		if err := json.Unmarshal([]byte(body), &answer); err != nil {
			t.Fatal(err)
		}
		want := vm.AttestationReportData(vm.HashOf(resp.TLS.PeerCertificates[0].RawSubjectPublicKeyInfo), nonce)
		if !bytes.Equal(answer.Evidence.Quote, want[:]) {
			t.Errorf("nonce of %d bytes: the quote binds %x, want %x", size, answer.Evidence.Quote, want)
		}
		if answer.Nonce != hex.EncodeToString(nonce) || answer.TLSKey != s.TLSKey() || len(answer.Evidence.Events) != len(opt.Events) {
			t.Errorf("nonce of %d bytes: answer %s", size, body)
		}
	}
	if calls := opt.calls(); calls != 3 {
		t.Errorf("3 nonces made %d quotes", calls)
	}
}

func TestNonceIsChecked(t *testing.T) {
	opt := testOptions(t)
	_, url, client := serve(t, opt)
	for _, c := range []struct{ name, query, want string }{
		{"none", "", "0 values"},
		{"empty", "?nonce=", "0 characters"},
		{"short", "?nonce=" + strings.Repeat("ab", 15), "30 characters"},
		{"long", "?nonce=" + strings.Repeat("ab", 65), "130 characters"},
		{"odd", "?nonce=" + strings.Repeat("a", 33), "not hex"},
		{"not hex", "?nonce=" + strings.Repeat("xy", 16), "not hex"},
		{"two", "?nonce=" + strings.Repeat("ab", 16) + "&nonce=" + strings.Repeat("cd", 16), "2 values"},
	} {
		resp, body := get(t, client, url+"/attestation"+c.query)
		if resp.StatusCode != http.StatusBadRequest || !strings.Contains(body, c.want) || !strings.Contains(body, "details") {
			t.Errorf("%s: %d %s, want 400 with %q and a hint", c.name, resp.StatusCode, body, c.want)
		}
	}
	if calls := opt.calls(); calls != 0 {
		t.Errorf("refused nonces made %d quotes", calls)
	}
}

// TestA6_QuotesAreBounded floods the service while a quote hangs: a short
// queue waits, the rest is turned away at once, and pages still answer.
func TestA6_QuotesAreBounded(t *testing.T) {
	opt := testOptions(t)
	quoter := &echoQuoter{spki: opt.Key.SPKI}
	opt = quoting(opt, quoter)
	s, url, client := serve(t, opt)
	quoter.hold = make(chan struct{}) // from now on
	const flood = quoteQueue + 30
	codes := make(chan int, flood)
	var all sync.WaitGroup
	for i := range flood {
		all.Go(func() {
			resp, err := client.Get(fmt.Sprintf("%s/attestation?nonce=%032x", url, i))
			if err != nil {
				t.Error(err)
				codes <- 0
				return
			}
			resp.Body.Close()
			if resp.StatusCode == http.StatusServiceUnavailable && resp.Header.Get("Retry-After") == "" {
				t.Error("503 without Retry-After")
			}
			codes <- resp.StatusCode
		})
	}
	for range flood - quoteQueue - 1 { // these come back while the first quote still hangs
		if code := <-codes; code != http.StatusServiceUnavailable {
			t.Fatalf("a request beyond the queue got %d, want 503", code)
		}
	}
	if calls := quoter.calls.Load(); calls != 1 {
		t.Errorf("%d quotes at once, want 1", calls)
	}
	if n := s.counts.busy.Load(); n != flood-quoteQueue-1 {
		t.Errorf("%d were counted as turned away, want %d", n, flood-quoteQueue-1)
	}
	if resp, _ := get(t, client, url+"/"); resp.StatusCode != http.StatusOK {
		t.Errorf("the page answers %d during the flood", resp.StatusCode)
	}
	close(quoter.hold)
	all.Wait()
	for range quoteQueue + 1 {
		if code := <-codes; code != http.StatusOK {
			t.Errorf("a queued request got %d, want 200", code)
		}
	}
}

// TestA6_CPUQuoteIsRemembered: the quote without a nonce costs one quote a minute.
func TestA6_CPUQuoteIsRemembered(t *testing.T) {
	opt := testOptions(t)
	_, url, client := serve(t, opt)
	for range 5 {
		get(t, client, url+"/cpu")
	}
	if calls := opt.calls(); calls != 1 {
		t.Errorf("5 requests made %d quotes, want 1", calls)
	}
}

func TestA6_HugeHeadersAreRefused(t *testing.T) {
	_, url, client := serve(t, testOptions(t))
	resp, _ := get(t, client, url+"/attestation?nonce="+strings.Repeat("a", 4*maxHeaderBytes))
	if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a request of %d bytes: %d, want 431", 4*maxHeaderBytes, resp.StatusCode)
	}
}

// TestA6_SilentClientsAreDropped: a client that connects and says nothing, or
// stops in the middle of a request, does not keep its connection.
func TestA6_SilentClientsAreDropped(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for the header time-out")
	}
	_, url, _ := serve(t, testOptions(t))
	conn, err := tls.Dial("tcp", strings.TrimPrefix(url, "https://"), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\n")); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := conn.SetReadDeadline(start.Add(3 * headerTimeout)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1<<10)
	for err == nil {
		_, err = conn.Read(buf)
	}
	if took := time.Since(start); took > 2*headerTimeout {
		t.Errorf("the connection was kept for %v: %v", took, err)
	}
}

func TestQuoteErrorsStayInside(t *testing.T) {
	opt := testOptions(t)
	opt = quoting(opt, &echoQuoter{err: errors.New("device says: inner detail")})
	_, url, client := serve(t, opt)
	resp, body := get(t, client, url+"/attestation?nonce="+strings.Repeat("ab", 16))
	if resp.StatusCode != http.StatusInternalServerError || strings.Contains(body, "inner detail") {
		t.Errorf("a failing device: %d %s", resp.StatusCode, body)
	}
}

// TestA4_HostHeader: the name that the client sent appears on the page only
// when it is a plain host name, for people copy the command.
func TestA4_HostHeader(t *testing.T) {
	s, err := New(testOptions(t))
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]bool{
		"vm.example:29343": true, "127.0.0.1:29343": true, "[::1]:29343": true, "localhost": true,
		"x;curl evil|sh": false, "$(id)": false, "-oProxy": false, "a b": false, "x\"><script>": false, "": false,
	} {
		if got := plainHost(host); got != want {
			t.Errorf("host %q is taken for plain: %v, want %v", host, got, want)
		}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		if !want && host != "" && strings.Contains(w.Body.String(), host) {
			t.Errorf("host %q is on the page", host)
		}
	}
}
