package guestapi

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
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
	err := c.get(ctx, PathInfo, &out)
	return out, err
}

// Quote returns evidence about data, at most 64 bytes: a quote over
// vm.WorkloadReportData(data), with events and, where the machine has it,
// collateral. It needs the grant "quote".
func (c *Client) Quote(ctx context.Context, data []byte) (vm.Evidence, error) {
	var out Quote
	err := c.get(ctx, PathQuote, &out, "data", hex.EncodeToString(data))
	return out.Evidence, err
}

// Application returns the application's log, with evidence about its register and
// data, at most 64 bytes. It needs the grant "quote".
func (c *Client) Application(ctx context.Context, data []byte) (Quote, error) {
	var out Quote
	err := c.get(ctx, PathQuote, &out, "data", hex.EncodeToString(data), "about", AboutApplication)
	return out, err
}

// Key returns the key of a path, 32 bytes: the same on each machine of the service
// and after each boot, for as long as the measured config names the same group
// key. It needs the grant "key/<path>", or that of a path above.
func (c *Client) Key(ctx context.Context, path string) (Secret, error) {
	return c.key(ctx, path, "service")
}

// InstanceKey returns the key that this machine alone has of a path. It needs the
// grant "instance-key/<path>", or that of a path above.
func (c *Client) InstanceKey(ctx context.Context, path string) (Secret, error) {
	return c.key(ctx, path, ScopeInstance)
}

func (c *Client) key(ctx context.Context, path, scope string) (Secret, error) {
	var out struct {
		Key string `json:"key"`
	}
	if err := c.get(ctx, PathKey, &out, "path", path, "scope", scope); err != nil {
		return Secret{}, err
	}
	b, err := hex.DecodeString(out.Key)
	if err != nil || len(b) == 0 {
		return Secret{}, errors.New("the machine's answer is no key")
	}
	return Secret{b}, nil
}

// Sign signs a payload as it is. It needs the grant "sign/ed25519" or
// "sign/secp256k1".
func (c *Client) Sign(ctx context.Context, kind, payload string) ([]byte, error) {
	return c.sign(ctx, SignRequest{KeyType: kind, Payload: payload})
}

// SignIn signs vm.SignedMessage of this service, a domain and the payload. It
// needs the same grants.
func (c *Client) SignIn(ctx context.Context, kind, domain, payload string) ([]byte, error) {
	return c.sign(ctx, SignRequest{KeyType: kind, Payload: payload, Domain: &domain})
}

func (c *Client) sign(ctx context.Context, q SignRequest) ([]byte, error) {
	var out Signature
	err := c.post(ctx, PathSign, q, &out)
	return out.Signature, err
}

// PublicKey returns the key that Sign uses, and evidence about it. It needs the
// same grants.
func (c *Client) PublicKey(ctx context.Context, kind string) (PublicKey, error) {
	var out PublicKey
	err := c.get(ctx, PathPublicKey, &out, "key_type", kind)
	return out, err
}

// Event adds to the application's log, which lasts as long as the boot. It needs
// the grant "event".
func (c *Client) Event(ctx context.Context, name string, payload []byte) (Logged, error) {
	var out Logged
	err := c.post(ctx, PathEvent, Event{Name: name, Payload: payload}, &out)
	return out, err
}

// get asks with pairs of parameters.
func (c *Client) get(ctx context.Context, path string, out any, parameters ...string) error {
	query := url.Values{}
	for i := 0; i+1 < len(parameters); i += 2 {
		query.Set(parameters[i], parameters[i+1])
	}
	return c.call(ctx, http.MethodGet, path+"?"+query.Encode(), nil, out)
}

func (c *Client) post(ctx context.Context, path string, in, out any) error {
	b, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("encode request to the machine: %w", err)
	}
	return c.call(ctx, http.MethodPost, path, bytes.NewReader(b), out)
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
