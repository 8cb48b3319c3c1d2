package certificate

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/guest/certificate/certificatetest"
	"github.com/secretvm/secretvm/vm"
)

// TestA7_CAARecordKeepsOthersOut: who answers at the name's address, as a host
// can, gets certificates for it, until the owner has set the record that the
// machine proposes.
func TestA7_CAARecordKeepsOthersOut(t *testing.T) {
	for _, challenge := range vm.Challenges {
		t.Run(challenge, func(t *testing.T) {
			ca := certificatetest.Start(t, certificatetest.Options{})
			disk := t.TempDir()
			m := start(t, ca, disk, challenge)
			m.rounds(t, 1)
			host := start(t, ca, t.TempDir(), challenge)
			host.rounds(t, 1)
			if s := host.Status(); !s.Certificates[0].Public || s.Account == m.Status().Account {
				t.Fatalf("without a record the host gets %+v", s)
			}
			ca.SetCAA(m.Status().CAA...)
			host = start(t, ca, t.TempDir(), challenge)
			host.rounds(t, 1)
			if c := host.Status().Certificates[0]; c.Public || !strings.Contains(c.Error, "/status says which records to set") {
				t.Errorf("with the record the host gets %+v", c)
			}
			m = start(t, ca, disk, challenge) // the next boot
			m.rounds(t, 1)
			if c := m.Status().Certificates[1]; !c.Public {
				t.Errorf("with its own record the machine gets %+v", c)
			}
		})
	}
}

// TestA7_AuthorityNamesAnotherKey: what an authority gives in place of what was
// asked for is not used.
func TestA7_AuthorityNamesAnotherKey(t *testing.T) {
	var other []byte
	front := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !strings.HasPrefix(r.URL.Path, "/certZ/") {
				next.ServeHTTP(w, r)
				return
			}
			recorded := httptest.NewRecorder()
			next.ServeHTTP(recorded, r)
			body := recorded.Body.Bytes()
			if other == nil && recorded.Code == http.StatusOK {
				other = bytes.Clone(body)
			} else if recorded.Code == http.StatusOK {
				body = other
			}
			for name, values := range recorded.Header() {
				w.Header()[name] = values
			}
			w.WriteHeader(recorded.Code)
			_, _ = w.Write(body)
		})
	}
	ca := certificatetest.Start(t, certificatetest.Options{Front: front})
	start(t, ca, t.TempDir(), vm.ChallengeHTTP).rounds(t, 1) // its certificate is given to the other machine
	m := start(t, ca, t.TempDir(), vm.ChallengeHTTP)
	m.rounds(t, 1)
	if c := m.Status().Certificates[0]; c.Public || !strings.Contains(c.Error, "does not match") || m.pair(t).Leaf.Issuer.CommonName != m.pair(t).Leaf.Subject.CommonName {
		t.Errorf("the workload has %+v", c)
	}
}

// TestK8_HugeAnswersOfTheAuthority: an authority cannot fill the machine's memory.
func TestK8_HugeAnswersOfTheAuthority(t *testing.T) {
	sent := 0
	front := func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"newOrder":"`))
			for {
				n, err := w.Write(bytes.Repeat([]byte("x"), 64<<10))
				if sent += n; err != nil || sent > 256<<20 {
					return
				}
			}
		})
	}
	ca := certificatetest.Start(t, certificatetest.Options{Front: front})
	m := start(t, ca, t.TempDir(), vm.ChallengeHTTP)
	m.rounds(t, 1)
	ca.Down() // waits for nothing, and ends what still writes
	if c := m.Status().Certificates[0]; !strings.Contains(c.Error, "too large") {
		t.Errorf("error is %q", c.Error)
	}
}

// TestA6_StrangersAtTheChallengePort get nothing there but a redirection to the
// machine's own names.
func TestA6_StrangersAtTheChallengePort(t *testing.T) {
	ca := certificatetest.Start(t, certificatetest.Options{})
	m := start(t, ca, t.TempDir(), vm.ChallengeHTTP)
	if err := m.listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	ask := func(host, path string) (int, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1:"+strconv.Itoa(ca.HTTPPort)+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode, resp.Header.Get("Location")
	}
	for _, c := range []struct {
		host, path, to string
		status         int
	}{
		{"app.example.org", "/a%2Fb?c=d&e", "https://app.example.org/a%2Fb?c=d&e", 308},
		{"App.Example.Org:80", "//elsewhere.example/", "https://app.example.org//elsewhere.example/", 308},
		{"elsewhere.example", "/", "", 404},
		{"127.0.0.1", "/.well-known/acme-challenge/x", "", 404},
	} {
		if status, to := ask(c.host, c.path); status != c.status || to != c.to {
			t.Errorf("%s%s: %d to %q, want %d to %q", c.host, c.path, status, to, c.status, c.to)
		}
	}
	if status, _ := ask("app.example.org", "/"+strings.Repeat("x", 64<<10)); status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a huge request: %d", status)
	}

	m = start(t, ca, t.TempDir(), vm.ChallengeTLS)
	if err := m.listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, protocols := range [][]string{nil, {"http/1.1"}, {"acme-tls/1"}, {"h2", "acme-tls/1"}} {
		d := &tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, ServerName: names[0], NextProtos: protocols}}
		if c, err := d.DialContext(t.Context(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(ca.TLSPort))); err == nil {
			c.Close()
			t.Errorf("a client that speaks %q got a certificate", protocols)
		}
	}
}

// TestA6_SilentClientsDoNotStopTheAuthority: who holds connections open holds
// few, and for a few seconds.
func TestA6_SilentClientsDoNotStopTheAuthority(t *testing.T) {
	ca := certificatetest.Start(t, certificatetest.Options{})
	m := start(t, ca, t.TempDir(), vm.ChallengeHTTP)
	if err := m.listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(ca.HTTPPort))
	began := time.Now()
	for range maxClients {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: app.example.org\r\nConnection: close\r\n\r\n")
	_ = c.SetReadDeadline(began.Add(clientTimeout + 10*time.Second))
	answer, err := io.ReadAll(c)
	if err != nil || !bytes.Contains(answer, []byte("308")) {
		t.Errorf("after %v: %q, %v", time.Since(began), answer, err)
	}
}

// TestAuthorityRefuses: what stands in the way is said, and the authority left
// alone for as long as it wants.
func TestAuthorityRefuses(t *testing.T) {
	on := func(path string, refuse http.HandlerFunc) func(http.Handler) http.Handler {
		return func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == path {
					refuse(w, r)
					return
				}
				next.ServeHTTP(w, r)
			})
		}
	}
	for _, c := range []struct {
		name, wantErr string
		options       certificatetest.Options
		deaf          bool
		wait          time.Duration
	}{
		{name: "rate limit", wantErr: "has had enough", wait: 3 * time.Hour, options: certificatetest.Options{Front: on("/order-plz", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "10800")
			certificatetest.Problem(w, http.StatusTooManyRequests, "rateLimited", "too many certificates already issued")
		})}},
		{name: "account", wantErr: "opened with it beforehand", options: certificatetest.Options{WantsAccount: true}},
		{name: "not reachable", wantErr: "lead to this machine from everywhere?", deaf: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			ca := certificatetest.Start(t, c.options)
			m := start(t, ca, t.TempDir(), vm.ChallengeHTTP)
			if c.deaf {
				m.o.Listen = func(ctx context.Context) (net.Listener, error) {
					return new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
				}
			}
			wait := m.rounds(t, 1)
			if got := m.Status().Certificates[0]; got.Public || !strings.Contains(got.Error, c.wantErr) || strings.Contains(got.Error, "\n") {
				t.Errorf("%+v, want an error with %q", got, c.wantErr)
			}
			if c.wait > 0 && wait < c.wait {
				t.Errorf("comes back after %v, want %v", wait, c.wait)
			}
		})
	}
}

func TestPausesGrow(t *testing.T) {
	k := &Keeper{pause: firstPause, entries: []*entry{{}}, o: Options{Note: func(string) {}, Changed: func() {}}}
	want := firstPause
	for n := range 40 {
		want = min(2*want, longest)
		if wait := k.failed(t.Context(), k.entries[0], io.ErrUnexpectedEOF); wait < want || wait > want+want/4+1 {
			t.Errorf("after failure %d: %v, want %v to %v", n+1, wait, want, want+want/4)
		}
	}
}
