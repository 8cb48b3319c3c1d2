package attestd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/guest/usage"
	"github.com/secretvm/secretvm/vm"
)

const secretToken = "3f5a1c9e-a-token-of-the-owner"

// liveOptions are those of a machine that runs a workload.
func liveOptions(t testing.TB, open ...string) Options {
	t.Helper()
	opt := testOptions(t, open...)
	opt.Services = func(context.Context) ([]string, error) { return []string{"web-1", "db-1"}, nil }
	opt.Logs = func(ctx context.Context, q LogQuery, each func(string) error) error {
		if q.Service == "gone" {
			return errors.New("inner detail")
		}
		for _, line := range []string{"Nov 23 09:00:00 guestbook secretvm[1]: a line of a log", "<script>alert(1)</script>\r\ndata: forged"}[:min(2, q.Lines)] {
			if err := each(line); err != nil {
				return err
			}
		}
		if q.Follow {
			<-ctx.Done()
		}
		return nil
	}
	opt.Resources = func() usage.Samples {
		return usage.Samples{{CPUPercent: 10, MemoryPercent: 20}, {MemoryTotal: 2, MemoryUsed: 1, MemoryPercent: 50, CPUPercent: 12.5}}
	}
	return opt
}

// withTokens measures tokens into the config.
func withTokens(t testing.TB, opt Options, tokens ...string) Options {
	t.Helper()
	cfg, err := vm.ParseConfig(opt.Config)
	if err != nil {
		t.Fatal(err)
	}
	for _, token := range tokens {
		cfg.Tokens = append(cfg.Tokens, vm.HashOf([]byte(token)))
	}
	slices.SortFunc(cfg.Tokens, func(a, b vm.Hash) int { return bytes.Compare(a[:], b[:]) })
	measured := measuredOptions(t, cfg)
	opt.Config, opt.Events, opt.Measurement = measured.Config, measured.Events, measured.Measurement
	return opt
}

// closedPaths are what only the measured config opens, and the word that does.
var closedPaths = map[string]string{
	"/docker-compose": "compose", "/docker-compose.html": "compose", "/services": "services", "/services.html": "services",
	"/logs": "logs", "/logs.html": "logs", "/logs/stream": "logs", "/resources": "resources", "/resources.html": "resources",
	"/resources/stream": "resources", "/metrics": "metrics",
}

func ask(t *testing.T, c *http.Client, url string, header ...string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context()) // ends streams
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if strings.HasPrefix(resp.Header.Get("Content-Type"), typeStream) {
		return resp.StatusCode, ""
	}
	var body strings.Builder
	buf := make([]byte, 4096)
	for {
		n, err := resp.Body.Read(buf)
		body.Write(buf[:n])
		if err != nil {
			return resp.StatusCode, body.String()
		}
	}
}

// TestA5_ClosedByDefault: strangers get nothing of what the machine does, under
// no spelling of the path; a word opens what it names and nothing else.
func TestA5_ClosedByDefault(t *testing.T) {
	s, url, client := serve(t, liveOptions(t))
	for path, e := range s.endpoints() {
		if (e.open != "") != (closedPaths[path] != "") {
			t.Errorf("%s is opened by %q: the table of this test has %q", path, e.open, closedPaths[path])
		}
	}
	for path := range closedPaths {
		for _, spelling := range []string{path, "/.well-known" + path, "/.well-known/.well-known" + path, path + "?token=" + secretToken} {
			code, body := ask(t, client, url+spelling)
			if code != http.StatusUnauthorized || !strings.Contains(body, "closed") {
				t.Errorf("GET %s: %d %s, want 401", spelling, code, body)
			}
			for _, secret := range []string{"services:", "a line of a log", "web-1", "percent", "secretvm_"} {
				if strings.Contains(body, secret) {
					t.Errorf("GET %s reveals %q", spelling, secret)
				}
			}
		}
	}
	if _, body := ask(t, client, url+"/docker-compose"); !strings.Contains(body, vm.HashOf([]byte(composeFile)).String()) {
		t.Errorf("the closed compose file's digest is not shown: %s", body)
	}
	if _, body := ask(t, client, url+"/"); strings.Contains(body, "services:") {
		t.Error("the page reveals the compose file")
	}
	for _, word := range vm.Endpoints {
		_, url, client := serve(t, liveOptions(t, word))
		for path, opener := range closedPaths {
			want := http.StatusUnauthorized
			if opener == word {
				want = http.StatusOK
			}
			if code, _ := ask(t, client, url+path); code != want {
				t.Errorf("open: [%s]: GET %s: %d, want %d", word, path, code, want)
			}
		}
	}
}

// TestA5_Tokens: a token opens when its digest is measured, in a header alone.
func TestA5_Tokens(t *testing.T) {
	opt := withTokens(t, liveOptions(t), "another", secretToken)
	_, url, client := serve(t, opt)
	for _, c := range []struct {
		name   string
		header []string
		want   int
	}{
		{"bearer", []string{"Authorization", "Bearer " + secretToken}, 200},
		{"the other one", []string{"Authorization", "Bearer another"}, 200},
		{"existing clients' header", []string{"X-Dev-Token", secretToken}, 200},
		{"none", nil, 401},
		{"empty", []string{"Authorization", "Bearer "}, 401},
		{"wrong", []string{"Authorization", "Bearer " + secretToken + "x"}, 401},
		{"its digest", []string{"Authorization", "Bearer " + vm.HashOf([]byte(secretToken)).String()}, 401},
		{"basic", []string{"Authorization", "Basic " + secretToken}, 401},
		{"bearer goes before", []string{"Authorization", "Bearer wrong", "X-Dev-Token", secretToken}, 401},
	} {
		for _, path := range []string{"/logs", "/metrics", "/docker-compose", "/.well-known/resources.html"} {
			if code, body := ask(t, client, url+path, c.header...); code != c.want {
				t.Errorf("%s: GET %s: %d %s, want %d", c.name, path, code, body, c.want)
			}
		}
	}
	// No empty token, no zero digest: a machine without tokens opens to nobody.
	_, url, client = serve(t, liveOptions(t))
	if code, _ := ask(t, client, url+"/logs", "Authorization", "Bearer "); code != 401 {
		t.Errorf("a machine without tokens answers %d to an empty one", code)
	}
	// Another origin's page may not send the headers that carry one.
	req, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, url+"/logs", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got := resp.Header.Get("Access-Control-Allow-Headers"); got != "" {
		t.Errorf("other origins may send %q", got)
	}
}

// TestA5_BootErrorsAreForReadersOfLogs: strangers learn which step failed and
// its code, who may read logs what it said.
func TestA5_BootErrorsAreForReadersOfLogs(t *testing.T) {
	opt := withTokens(t, liveOptions(t), secretToken)
	_, url, client := serve(t, opt)
	for _, c := range []struct {
		header []string
		want   bool
	}{{nil, false}, {[]string{"X-Dev-Token", secretToken}, true}} {
		_, body := ask(t, client, url+"/status", c.header...)
		var status statusAnswer
		if err := json.Unmarshal([]byte(body), &status); err != nil {
			t.Fatal(err)
		}
		if len(status.Boot) != 2 || status.Stage != "failed" || status.Boot[1].Code != vm.CodeExpired {
			t.Errorf("status: %s", body)
		}
		if got := strings.Contains(body, "for the console"); got != c.want {
			t.Errorf("with %q: status tells remarks and errors: %v", c.header, got)
		}
	}
}

func TestLogQueries(t *testing.T) {
	_, url, client := serve(t, liveOptions(t, "logs"))
	for _, c := range []struct {
		query, want string
		code        int
	}{
		{"", "forged\n", 200},
		{"?lines=1", "log\n", 200},
		{"?lines=99999999", "forged", 200}, // bounded, as existing clients ask for more than there is
		{"?service=web-1", "a line", 200},
		{"?lines=0", "positive", 400},
		{"?lines=-1", "positive", 400},
		{"?lines=x", "positive", 400},
		{"?service=../../x", "no such service", 400},
		{"?service=gone", "does not answer", 503},
	} {
		code, body := ask(t, client, url+"/logs"+c.query)
		if code != c.code || !strings.Contains(body, c.want) || strings.Contains(body, "inner detail") {
			t.Errorf("GET /logs%s: %d %q, want %d %q", c.query, code, body, c.code, c.want)
		}
	}
}

// FuzzRequests: no path, query or header makes the service fail, or tell a
// stranger what is closed.
func FuzzRequests(f *testing.F) {
	opt := withTokens(f, liveOptions(f), secretToken)
	s, err := New(opt)
	if err != nil {
		f.Fatal(err)
	}
	s.work.pacer.Burst = 1 << 62 // not what is tried here
	s.gate.Rest.Burst = 1 << 62
	handler := s.Handler()
	for path := range s.endpoints() {
		f.Add(strings.TrimSuffix(path, "{$}"), "nonce=00112233445566778899aabbccddeeff&lines=3&service=web-1&binding=tls-exporter", "Bearer x")
	}
	f.Add("/.well-known/.well-known/../logs", "lines=%00", "Bearer ")
	f.Add("//logs", ";", "")
	f.Fuzz(func(t *testing.T, path, query, authorization string) {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, &http.Request{
			Method: http.MethodGet, URL: &url.URL{Path: path, RawQuery: query}, Host: "x",
			Header: http.Header{"Authorization": {authorization}}, Body: http.NoBody,
		})
		if w.Code >= 500 && w.Code != http.StatusServiceUnavailable {
			t.Errorf("%q ?%q: %d %s", path, query, w.Code, w.Body)
		}
		for _, secret := range []string{"a line of a log", "web-1", "percent", "secretvm_boot"} {
			if strings.Contains(w.Body.String(), secret) && !strings.Contains(path+query+authorization, secret) && !strings.HasSuffix(path, "openapi.json") {
				t.Errorf("%q ?%q reveals %q", path, query, secret)
			}
		}
	})
}
