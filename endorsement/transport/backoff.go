package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
)

// host is what was experienced with one host.
type host struct {
	slots chan struct{} // requests under way

	mu       sync.Mutex
	failures int       // in a row
	until    time.Time // no request before
	down     error     // why, when it is considered down
}

// downAfter failures in a row, whatever was asked, a host is considered down:
// for a while, requests fail at once with what was experienced.
const (
	downAfter = 6
	maxPause  = 8 * time.Second
)

func (c *Client) host(name string) *host {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.hosts[name]
	if h == nil {
		h = &host{slots: make(chan struct{}, perHost)}
		c.hosts[name] = h
	}
	return h
}

// wait waits for the host's pause to end and for a free slot, which release
// gives back. Requests that wait together do not start together.
func (h *host) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case h.slots <- struct{}{}:
	}
	for {
		h.mu.Lock()
		rest, down := time.Until(h.until), h.down
		h.mu.Unlock()
		if rest <= 0 {
			return nil
		}
		if down != nil {
			h.release()
			return fmt.Errorf("not asked, for the host failed %d times in a row: %w", downAfter, down)
		}
		timer := time.NewTimer(rest)
		select {
		case <-ctx.Done():
			timer.Stop()
			h.release()
			return ctx.Err()
		case <-timer.C:
		}
	}
}

func (h *host) release() { <-h.slots }

// learn notes how a try ended, and returns whether another one makes sense and
// after which pause.
func (h *host) learn(err error, pause, patience time.Duration) (time.Duration, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var status *StatusError
	switch {
	case errors.As(err, &status) && status.passing():
	case err == nil, status != nil:
		h.failures, h.down = 0, nil // the host is well; it just has not got this
		return 0, false
	case !passing(err):
		return 0, false
	}
	h.failures++
	wait := min(pause<<min(h.failures-1, 10), maxPause)
	wait = wait/2 + rand.N(wait/2+1) // jitter: half to all of it
	if status != nil && status.after >= 0 {
		if status.after > patience {
			return 0, false
		}
		wait = max(status.after, wait/4)
	}
	if until := time.Now().Add(wait); until.After(h.until) {
		h.until = until
	}
	if h.failures >= downAfter {
		h.down = err
	}
	return wait, true
}

// passing reports whether a failure without an answer may pass.
func passing(err error) bool {
	var final *FinalError
	var dns *net.DNSError
	var network *net.OpError
	switch {
	case errors.As(err, &final), errors.Is(err, context.Canceled):
		return false
	case errors.As(err, &dns):
		return dns.IsTemporary || dns.IsTimeout // an unknown name stays unknown
	}
	return errors.Is(err, errSlow) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || errors.As(err, &network)
}

func statusError(r *http.Response) error {
	e := &StatusError{Code: r.StatusCode, after: -1}
	if text := r.Header.Get("Retry-After"); text != "" {
		if n, err := strconv.ParseUint(text, 10, 31); err == nil {
			e.after = time.Duration(n) * time.Second
		} else if at, err := http.ParseTime(text); err == nil {
			e.after = max(0, time.Until(at))
		}
	}
	// Intel's services explain themselves in headers, others in the body.
	if e.Detail = printable(r.Header.Get("Error-Message")); e.Detail == "" {
		if b, err := io.ReadAll(io.LimitReader(r.Body, 512)); err == nil && !strings.Contains(r.Header.Get("Content-Type"), "html") {
			e.Detail = printable(string(b))
		}
	}
	return e
}

// printable makes a stranger's text fit for a terminal: one line, 120 characters.
func printable(s string) string {
	s = strings.Map(func(c rune) rune {
		if unicode.IsPrint(c) {
			return c
		}
		return ' '
	}, strings.ToValidUTF8(s, "?"))
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > 120 {
		s = string(r[:119]) + "…"
	}
	return s
}
