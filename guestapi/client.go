package guestapi

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/secretvm/secretvm/vm"
)

// Client asks the machine. Its methods may be called by several goroutines. The
// machine bounds what each service asks at once: errors of vm.CodeUnavailable go
// away by themselves.
type Client struct{ http http.Client }

// New makes a client of the socket at path; empty: Socket.
func New(path string) *Client {
	if path == "" {
		path = Socket
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}
	return &Client{http.Client{Transport: &http.Transport{DialContext: dial, MaxConnsPerHost: 4, IdleConnTimeout: 5 * time.Second}}}
}

// Info says what the machine is. It needs the grant "info".
func (c *Client) Info(ctx context.Context) (Info, error) {
	var out Info
	return out, c.call(ctx, http.MethodGet, PathInfo, nil, &out)
}

// Quote returns evidence about data, at most 64 bytes: a quote over
// vm.WorkloadReportData(data), with events and, where the machine has it,
// collateral. It needs the grant "quote".
func (c *Client) Quote(ctx context.Context, data []byte) (vm.Evidence, error) {
	var out Quote
	err := c.call(ctx, http.MethodGet, PathQuote+"?"+url.Values{"data": {hex.EncodeToString(data)}}.Encode(), nil, &out)
	return out.Evidence, err
}

// call returns a *vm.Refusal for what the machine refused.
func (c *Client) call(ctx context.Context, method, path string, body io.Reader, out any) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://secretvm"+path, body)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("ask the machine: %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, MaxAnswer))
	if err != nil {
		return fmt.Errorf("ask the machine: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		var refusal vm.Refusal
		if json.Unmarshal(answer, &refusal) != nil || refusal.Code == "" {
			return fmt.Errorf("ask the machine: %s: %.200q", resp.Status, answer)
		}
		return &refusal
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("read the machine's answer: %w", err)
	}
	return nil
}
