package transport

import (
	"compress/gzip"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func serve(t *testing.T, f http.HandlerFunc) (url string, asked *atomic.Int64) {
	t.Helper()
	asked = &atomic.Int64{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		f(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL, asked
}

func hasty() *Client {
	return &Client{Pause: time.Millisecond, Patience: time.Second, Timeout: time.Second}
}

func TestRetryAfterIsHonoured(t *testing.T) {
	for _, form := range []func() string{
		func() string { return "1" },
		func() string { return time.Now().Add(1500 * time.Millisecond).UTC().Format(http.TimeFormat) },
	} {
		var first sync.Once
		url, asked := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			first.Do(func() {
				w.Header().Set("Retry-After", form())
				w.WriteHeader(http.StatusServiceUnavailable)
			})
		})
		start := time.Now()
		c := hasty()
		c.Patience = 3 * time.Second
		if _, err := c.Do(context.Background(), Request{URL: url, Limit: 10}); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); asked.Load() != 2 || took < 400*time.Millisecond {
			t.Errorf("asked %d times in %v: did not wait as told", asked.Load(), took)
		}
	}
}

func TestPausesDoubleAndAreBounded(t *testing.T) {
	h := &host{slots: make(chan struct{}, 1)}
	var last time.Duration
	for i := range 20 {
		pause, again := h.learn(&StatusError{Code: 500, after: -1}, 100*time.Millisecond, time.Second)
		most := min(100*time.Millisecond<<min(i, 10), maxPause)
		if !again || pause < most/2 || pause > most {
			t.Errorf("pause %d is %v, want %v to %v", i+1, pause, most/2, most)
		}
		last = pause
	}
	if last < maxPause/2 || h.down == nil {
		t.Errorf("after 20 failures the pause is %v, and down is %v", last, h.down)
	}
	h.learn(nil, time.Second, time.Second)
	if h.failures != 0 || h.down != nil {
		t.Error("a success did not clear the record")
	}
}

func TestWhatIsNotTriedAgain(t *testing.T) {
	for _, tt := range []struct {
		name string
		f    http.HandlerFunc
		want string
	}{
		{"400", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(400)
			w.Write([]byte("bad \x1b[31mfmspc\n"))
		}, "answered 400 Bad Request (bad [31mfmspc)"},
		{"501", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(501) }, "501"},
		{"large", func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, 100)) }, "more than 10 bytes"},
		{"compressed bomb", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			z.Write(make([]byte, 64<<20))
			z.Close()
		}, "more than 10 bytes"},
		{"no content", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, "204"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			url, asked := serve(t, tt.f)
			_, err := hasty().Do(context.Background(), Request{URL: url, Limit: 10})
			if err == nil || !strings.Contains(err.Error(), tt.want) || asked.Load() != 1 {
				t.Errorf("asked %d times: %v, want %q", asked.Load(), err, tt.want)
			}
		})
	}
}

func TestOnlyHTTPIsAsked(t *testing.T) {
	for _, url := range []string{"", "ftp://a", "file:///etc/passwd", "https://user@host/", "//host", "https://"} {
		if _, err := hasty().Do(context.Background(), Request{URL: url}); err == nil || !strings.Contains(err.Error(), "no http") {
			t.Errorf("%q: %v", url, err)
		}
	}
}

func TestNoDowngrade(t *testing.T) {
	plain, asked := serve(t, func(http.ResponseWriter, *http.Request) {})
	s := httptest.NewTLSServer(http.RedirectHandler(plain, http.StatusFound))
	t.Cleanup(s.Close)
	c := hasty()
	c.HTTP = s.Client()
	if _, err := c.Do(context.Background(), Request{URL: s.URL, Limit: 10}); err == nil || asked.Load() != 0 {
		t.Errorf("followed https to http: %v", err)
	}
}

func TestAtMostFourRequestsAtOnce(t *testing.T) {
	var running, most atomic.Int64
	url, _ := serve(t, func(http.ResponseWriter, *http.Request) {
		n := running.Add(1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		time.Sleep(10 * time.Millisecond)
		running.Add(-1)
	})
	c := hasty()
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := c.Do(context.Background(), Request{URL: url, Limit: 10}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if most.Load() > perHost {
		t.Errorf("%d requests at once", most.Load())
	}
}

func TestCancelledWhileWaiting(t *testing.T) {
	url, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })
	c := hasty()
	c.Pause = time.Minute
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := c.Do(ctx, Request{URL: url, Limit: 10})
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 2*time.Second {
		t.Errorf("after %v: %v", time.Since(start), err)
	}
}
