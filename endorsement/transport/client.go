package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// Client asks over HTTP. The zero value works; fields are set before first use.
// It may be used concurrently.
type Client struct {
	HTTP     *http.Client  // nil: with the environment's proxy and the system's certificates
	Tries    int           // per request; 0 means 4
	Pause    time.Duration // before the second try, doubled for each further one; 0 means 500 ms
	Patience time.Duration // the longest pause that a server may ask for; 0 means 30 s
	Timeout  time.Duration // of one try; 0 means 20 s
	Note     func(format string, args ...any)

	once  sync.Once
	http  *http.Client
	mu    sync.Mutex
	hosts map[string]*host
}

// Request is one question.
type Request struct {
	URL         string
	Post        []byte // nil: GET
	ContentType string // of Post
	Limit       int64  // of the answer's body, in bytes
	Tries       int    // 0: the client's
}

// Answer is what a server with status 200 said.
type Answer struct {
	URL         string // after redirects
	Header      http.Header
	ContentType string // without parameters
	Body        []byte
}

// StatusError is an answer with another status than 200.
type StatusError struct {
	Code   int
	Detail string        // what the server says about it, printable and short; may be empty
	after  time.Duration // Retry-After; negative: none given
}

func (e *StatusError) Error() string {
	text := fmt.Sprintf("answered %d %s", e.Code, http.StatusText(e.Code))
	if e.Detail != "" {
		text += " (" + e.Detail + ")"
	}
	return text
}

// passing reports whether asking again may help.
func (e *StatusError) passing() bool {
	return e.Code == http.StatusTooManyRequests || e.Code == http.StatusRequestTimeout || e.Code >= 500 && e.Code != http.StatusNotImplemented
}

const (
	maxRedirects = 3
	maxHeader    = 64 << 10 // issuer chains travel in headers
	perHost      = 4        // requests at once
)

func (c *Client) prepare() {
	c.hosts = map[string]*host{}
	if c.HTTP != nil {
		copied := *c.HTTP
		c.http = &copied
	} else {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.MaxResponseHeaderBytes = maxHeader
		t.MaxConnsPerHost, t.MaxIdleConnsPerHost = perHost, perHost
		c.http = &http.Client{Transport: t}
	}
	c.http.CheckRedirect = checkRedirect
}

func checkRedirect(next *http.Request, before []*http.Request) error {
	switch last := before[len(before)-1].URL; {
	case len(before) > maxRedirects:
		return fmt.Errorf("more than %d redirects", maxRedirects)
	case next.URL.Scheme != "https" && next.URL.Scheme != last.Scheme:
		return fmt.Errorf("redirected from %s to %s", last.Scheme, next.URL.Scheme)
	}
	return nil
}

// Do asks until there is an answer, the tries are used up, or ctx ends.
func (c *Client) Do(ctx context.Context, r Request) (*Answer, error) {
	c.once.Do(c.prepare)
	u, err := url.Parse(r.URL)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil {
		return nil, fmt.Errorf("%.200q is no http or https URL", r.URL)
	}
	h := c.host(u.Host)
	tries := or(r.Tries, or(c.Tries, 4))
	for try := 1; ; try++ {
		if err := h.wait(ctx); err != nil {
			return nil, err
		}
		answer, err := c.try(ctx, r)
		h.release()
		pause, again := h.learn(err, or(c.Pause, 500*time.Millisecond), or(c.Patience, 30*time.Second))
		switch {
		case err == nil:
			return answer, nil
		case ctx.Err() != nil:
			return nil, fmt.Errorf("gave up after %d tries: %w", try, errors.Join(ctx.Err(), err))
		case !again:
			return nil, err
		case try == tries:
			return nil, fmt.Errorf("gave up after %d tries: %w", try, err)
		}
		if c.Note != nil {
			c.Note("%s: %v; again in %s", u.Host, err, pause.Round(100*time.Millisecond))
		}
	}
}

func or[T int | time.Duration](v, otherwise T) T {
	if v == 0 {
		return otherwise
	}
	return v
}

// try asks once.
func (c *Client) try(ctx context.Context, r Request) (*Answer, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, or(c.Timeout, 20*time.Second), errSlow)
	defer cancel()
	method, body := http.MethodGet, io.Reader(nil)
	if r.Post != nil {
		method, body = http.MethodPost, bytes.NewReader(r.Post)
	}
	request, err := http.NewRequestWithContext(ctx, method, r.URL, body)
	if err != nil {
		return nil, err
	}
	if r.ContentType != "" {
		request.Header.Set("Content-Type", r.ContentType)
	}
	request.Header.Set("User-Agent", "secretvm")
	response, err := c.http.Do(request)
	if err != nil {
		return nil, slow(ctx, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, statusError(response)
	}
	b, err := io.ReadAll(io.LimitReader(response.Body, r.Limit+1))
	if err != nil {
		return nil, fmt.Errorf("the answer was cut after %d bytes: %w", len(b), slow(ctx, err))
	}
	if int64(len(b)) > r.Limit {
		return nil, &FinalError{fmt.Sprintf("the answer has more than %d bytes", r.Limit)}
	}
	kind, _, err := mime.ParseMediaType(response.Header.Get("Content-Type"))
	if err != nil {
		kind = ""
	}
	return &Answer{URL: response.Request.URL.String(), Header: response.Header, ContentType: kind, Body: b}, nil
}

// FinalError is a failure that asking again will not change.
type FinalError struct{ text string }

func (e *FinalError) Error() string { return e.text }

var errSlow = errors.New("no answer in time")

// slow says that our own limit ended a try, and drops what the caller knows:
// which URL it was.
func slow(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), errSlow) {
		return errSlow
	}
	var asked *url.Error
	if errors.As(err, &asked) {
		return asked.Err
	}
	return err
}
