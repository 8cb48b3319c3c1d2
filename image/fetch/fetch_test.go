package fetch

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func client() *Client { return &Client{Pause: time.Millisecond} }

func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.URL
}

func TestGetTriesAgain(t *testing.T) {
	var asked atomic.Int32
	url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) < 3 {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		_, _ = w.Write([]byte("content"))
	})
	b, err := client().Get(t.Context(), []string{url}, "file", 100, nil)
	if err != nil || string(b) != "content" {
		t.Errorf("got %q, %v after %d tries", b, err, asked.Load())
	}
}

func TestGetGoesToTheNextMirror(t *testing.T) {
	wrong := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("altered")) })
	right := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("content")) })
	accept := func(b []byte) error {
		if string(b) != "content" {
			return errors.New("not the content")
		}
		return nil
	}
	b, err := client().Get(t.Context(), []string{serve(t, http.NotFound), wrong, right}, "file", 100, accept)
	if err != nil || string(b) != "content" {
		t.Errorf("got %q, %v", b, err)
	}
	_, err = client().Get(t.Context(), []string{wrong}, "file", 100, accept)
	if err == nil || !strings.Contains(err.Error(), "not the content") {
		t.Errorf("error is %v", err)
	}
}

func TestGetRefuses(t *testing.T) {
	var asked atomic.Int32
	missing := serve(t, func(w http.ResponseWriter, r *http.Request) { asked.Add(1); http.NotFound(w, r) })
	if _, err := client().Get(t.Context(), []string{missing}, "file", 100, nil); !errors.Is(err, ErrNotFound) || asked.Load() != 1 {
		t.Errorf("error is %v after %d tries, want ErrNotFound after one", err, asked.Load())
	}
	large := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 101)) })
	if _, err := client().Get(t.Context(), []string{large}, "file", 100, nil); err == nil || !strings.Contains(err.Error(), "more than 100 bytes") {
		t.Errorf("error is %v, want one about the size", err)
	}
	short := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "50")
		_, _ = w.Write([]byte("cut"))
	})
	if _, err := client().Get(t.Context(), []string{short}, "file", 100, nil); err == nil || !strings.Contains(err.Error(), "EOF") {
		t.Errorf("error is %v, want one about the early end", err)
	}
}

func TestProxyOfApt(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"set", "Acquire::http::Proxy \"http://cache.example:3142\";\n", "http://cache.example:3142"},
		{"commented out", "// Acquire::http::Proxy \"http://cache.example:3142\";\n", ""},
		{"last counts", "Acquire::http::Proxy \"http://a.example\";\nAcquire::http::Proxy \"http://b.example\";\n", "http://b.example"},
		{"direct", "Acquire::http::Proxy \"DIRECT\";\n", ""},
		{"none", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			etc := t.TempDir()
			if err := os.Mkdir(filepath.Join(etc, "apt.conf.d"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(etc, "apt.conf.d", "01proxy"), []byte(c.text), 0o644); err != nil {
				t.Fatal(err)
			}
			got := ""
			if u := aptProxy(etc); u != nil {
				got = u.String()
			}
			if got != c.want {
				t.Errorf("proxy is %q, want %q", got, c.want)
			}
		})
	}
}
