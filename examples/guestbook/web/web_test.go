package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestNewEntry(t *testing.T) {
	now := time.Date(2026, 11, 23, 4, 11, 30, 999, time.FixedZone("", 3600))
	for _, c := range []struct{ name, who, message, wantErr string }{
		{"plain", " Ada ", " hello\n", ""},
		{"longest", strings.Repeat("ä", maxName), strings.Repeat("ä", maxMessage), ""},
		{"nobody", " ", "hello", "please say who you are"},
		{"nothing", "Ada", "\n", "please write something"},
		{"long name", strings.Repeat("ä", maxName+1), "hello", "a name has at most 60 characters"},
		{"long message", "Ada", strings.Repeat("ä", maxMessage+1), "an entry has at most 1000 characters"},
		{"no text", "Ada", "\xff", "that was not text"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, err := newEntry(c.who, c.message, now)
			if c.wantErr != "" {
				if err == nil || err.Error() != c.wantErr {
					t.Fatalf("error is %v, want %s", err, c.wantErr)
				}
				return
			}
			if err != nil || e.Name != strings.TrimSpace(c.who) || e.Message != strings.TrimSpace(c.message) {
				t.Fatalf("entry is %+v, error %v", e, err)
			}
			if got := e.Time.Format(time.RFC3339Nano); got != "2026-11-23T03:11:30Z" {
				t.Errorf("time is %s", got)
			}
		})
	}
}

// Without a database every path answers, soon and without saying why to strangers.
func TestWithoutDatabase(t *testing.T) {
	h := newHandler(openBook("127.0.0.1:1"))
	for _, c := range []struct {
		method, path, kind, body, site string
		want                           int
	}{
		{"GET", "/", "", "", "", 503},
		{"GET", "/healthz", "", "", "", 503},
		{"GET", "/api/entries", "", "", "", 503},
		{"GET", "/style.css", "", "", "", 200},
		{"GET", "/page/index.html", "", "", "", 404},
		{"DELETE", "/api/entries", "", "", "", 405},
		{"POST", "/api/entries", "application/json", `{"name":"a","message":"b"}`, "", 503},
		{"POST", "/", "application/x-www-form-urlencoded", "name=a&message=b", "cross-site", 403},
		{"POST", "/", "application/x-www-form-urlencoded", "name=a&message=b", "same-site", 403},
		{"POST", "/", "application/x-www-form-urlencoded", "name=a&message=b", "same-origin", 503},
	} {
		r := httptest.NewRequest(c.method, c.path, strings.NewReader(c.body))
		if c.kind != "" {
			r.Header.Set("Content-Type", c.kind)
		}
		if c.site != "" {
			r.Header.Set("Sec-Fetch-Site", c.site)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != c.want || strings.Contains(w.Body.String(), "127.0.0.1") {
			t.Errorf("%s %s (%s): status %d, want %d: %s", c.method, c.path, c.site, w.Code, c.want, w.Body)
		}
		if csp := w.Header().Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none';") || w.Code == http.StatusOK && w.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s %s: headers are %v", c.method, c.path, w.Header())
		}
	}
}
