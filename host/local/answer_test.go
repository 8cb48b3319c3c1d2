package local

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestFirstAnswer(t *testing.T) {
	any := func(int) bool { return true }
	good := func(status int) bool { return status < http.StatusBadRequest }
	for name, c := range map[string]struct {
		answers []int // one after the other; the last for ever
		will    func(int) bool
		want    int
		wantErr string
	}{
		"at once":                   {[]int{200}, good, 200, ""},
		"a redirect is an answer":   {[]int{302}, good, 302, ""},
		"not ready first":           {[]int{503, 502, 200}, good, 200, ""},
		"whatever it says":          {[]int{404}, any, 404, ""},
		"never good before the end": {[]int{500}, good, 0, "it answers 500"},
	} {
		var n atomic.Int64
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(c.answers[min(int(n.Add(1)), len(c.answers))-1])
		}))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		got, err := firstAnswer(ctx, server.URL, c.will)
		cancel()
		server.Close()
		if got != c.want || (err == nil) != (c.wantErr == "") || err != nil && !strings.Contains(err.Error(), c.wantErr) {
			t.Errorf("%s: %d, %v, want %d, %q", name, got, err, c.want, c.wantErr)
		}
	}
}
