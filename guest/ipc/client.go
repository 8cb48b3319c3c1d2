package ipc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// Client asks one process.
type Client struct {
	known Errors
	path  string
	http  *http.Client
}

// Dial makes a client for the socket at path, which need not be there yet. Its
// errors are those in known where the answer names them.
func Dial(path string, known Errors) *Client {
	var d net.Dialer
	return &Client{known: known, path: path, http: &http.Client{Transport: &http.Transport{
		DialContext:         func(ctx context.Context, _, _ string) (net.Conn, error) { return d.DialContext(ctx, "unix", path) },
		MaxIdleConnsPerHost: 8,
		IdleConnTimeout:     time.Minute,
		DisableCompression:  true,
	}}}
}

// Ask puts a question and waits for the answer until ctx ends. An error that the
// process answered with is an *Answered.
func Ask[Q, A any](ctx context.Context, c *Client, question string, q Q) (a A, err error) {
	body, err := json.Marshal(q)
	defer clear(body)
	if err == nil {
		err = c.ask(ctx, question, body, &a)
	}
	var answered *Answered
	if err != nil && !errors.As(err, &answered) {
		err = fmt.Errorf("ask %s for %s: %w", c.path, question, err)
	}
	return a, err
}

func (c *Client) ask(ctx context.Context, question string, body []byte, answer any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://secretvm/"+question, bytes.NewReader(body))
	if err != nil {
		return err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	out, err := io.ReadAll(io.LimitReader(response.Body, MaxMessage+1))
	defer clear(out)
	switch {
	case err != nil:
		return err
	case len(out) > MaxMessage:
		return fmt.Errorf("the answer has more than %d bytes", MaxMessage)
	case response.StatusCode == http.StatusOK:
		return json.Unmarshal(out, answer)
	case response.StatusCode == http.StatusUnprocessableEntity:
		var f failure
		if err := json.Unmarshal(out, &f); err != nil {
			return err
		}
		return c.known.decode(f)
	}
	return fmt.Errorf("it answers %s", response.Status)
}

// Close gives up connections that nobody uses.
func (c *Client) Close() { c.http.CloseIdleConnections() }
