// Package fetch downloads files over HTTP from several mirrors, with retries.
// It checks lengths; whoever asks checks digests or signatures, because a
// mirror is not trusted with more than being there.
package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"time"
)

// Client downloads. The zero value works and uses no proxy but the one of the
// environment.
type Client struct {
	HTTP    *http.Client
	Retries int           // further tries per mirror after a failure that may pass; 0 means 2
	Pause   time.Duration // before the first further try, doubled for each; 0 means 500 ms
}

// ErrNotFound says that a mirror answered and does not have the file.
var ErrNotFound = errors.New("not on this mirror")

// New returns a Client that uses apt's HTTP proxy where etc ("/etc/apt") names
// one, and otherwise the environment's.
func New(etc string) *Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = 30 * time.Second
	transport.MaxIdleConnsPerHost = 8
	if proxy := aptProxy(etc); proxy != nil {
		transport.Proxy = http.ProxyURL(proxy)
	}
	return &Client{HTTP: &http.Client{Transport: transport}}
}

// Get returns the file at path below the first mirror that yields it and that
// accept likes; maxSize bounds it, in bytes. accept may be nil.
func (c *Client) Get(ctx context.Context, mirrors []string, path string, maxSize int64, accept func([]byte) error) ([]byte, error) {
	var failures []error
	for _, mirror := range mirrors {
		b, err := c.getOne(ctx, mirror+"/"+path, maxSize)
		if err == nil && accept != nil {
			err = accept(b)
		}
		if err == nil {
			return b, nil
		}
		failures = append(failures, fmt.Errorf("%s: %w", mirror, err))
		if ctx.Err() != nil {
			break
		}
	}
	return nil, fmt.Errorf("download %s: %w", path, errors.Join(failures...))
}

func (c *Client) getOne(ctx context.Context, address string, maxSize int64) ([]byte, error) {
	retries, pause := c.Retries, c.Pause
	if retries == 0 {
		retries = 2
	}
	if pause == 0 {
		pause = 500 * time.Millisecond
	}
	for try := 0; ; try++ {
		b, err := c.once(ctx, address, maxSize)
		if err == nil || errors.Is(err, ErrNotFound) || try == retries {
			return b, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(pause << try):
		}
	}
}

func (c *Client) once(ctx context.Context, address string, maxSize int64) (b []byte, err error) {
	// A mirror that stalls must not hold the build for ever: 5 minutes for the
	// largest package is 400 kB/s.
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	client := c.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	answer, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, answer.Body.Close()) }()
	switch {
	case answer.StatusCode == http.StatusNotFound, answer.StatusCode == http.StatusGone:
		return nil, ErrNotFound
	case answer.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("answered %s", answer.Status)
	}
	b, err = io.ReadAll(io.LimitReader(answer.Body, maxSize+1))
	if err == nil && int64(len(b)) > maxSize {
		err = fmt.Errorf("more than %d bytes", maxSize)
	}
	return b, err
}

var proxyPattern = regexp.MustCompile(`(?m)^\s*Acquire::http::Proxy\s+"([^"]+)"\s*;`)

// aptProxy finds Acquire::http::Proxy in apt's configuration (apt.conf(5)); the
// last setting counts. Block syntax is not understood.
func aptProxy(etc string) *url.URL {
	files, err := filepath.Glob(filepath.Join(etc, "apt.conf.d", "*"))
	if err != nil {
		return nil
	}
	var found *url.URL
	for _, name := range append(files, filepath.Join(etc, "apt.conf")) {
		text, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		for _, match := range proxyPattern.FindAllStringSubmatch(string(text), -1) {
			if u, err := url.Parse(match[1]); err == nil && u.Host != "" {
				found = u
			}
		}
	}
	return found
}
