package secretnetwork

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/secretvm/secretvm/kms/client"
	"github.com/secretvm/secretvm/vm"
)

// Bounds of answers, in bytes, and of one question, in time.
const (
	maxAnswer    = 256 << 10
	askPatience  = 15 * time.Second
	maxEndpoints = 32
)

// CollateralPath ends the URL of a service that gives the collateral of a quote:
// POST {"quote": hex} to it answers {"collateral": hex}. Among the endpoints of
// a machine such a URL is one of these, every other one a node's.
const CollateralPath = "/quote-parse"

// Client asks the contract for one machine.
type Client struct {
	HTTP    *http.Client      // New sets one
	Waiting func(client.Wait) // told what a release waits for; nil: nobody

	nodes      []string // URLs of the network's REST interface: hints
	collateral []string
	config     vm.Config
	contract   string // address
	service    string // id on the contract
	consensus  *ecdh.PublicKey
}

// Quoter makes quotes; tee.Device is one.
type Quoter = client.Quoter

// New makes a client of the contract that a machine's measured config names.
// The endpoints are hints: they may be anybody's.
func New(endpoints []string, config vm.Config) (*Client, error) {
	if config.KMS.Provider != vm.ProviderSecretNetwork || config.KMS.Contract == nil {
		return nil, vm.Refuse(vm.CodeConfig, "the machine's config does not choose %s", vm.ProviderSecretNetwork)
	}
	raw, err := hex.DecodeString(config.KMS.Contract.ConsensusKey)
	if err != nil {
		return nil, fmt.Errorf("consensus key of the config: %w", err)
	}
	c := &Client{config: config, HTTP: &http.Client{
		Timeout:       askPatience,
		Transport:     &http.Transport{MaxResponseHeaderBytes: 16 << 10, IdleConnTimeout: askPatience},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	if c.consensus, err = ecdh.X25519().NewPublicKey(raw); err != nil {
		return nil, fmt.Errorf("consensus key of the config: %w", err)
	}
	c.contract, c.service, _ = strings.Cut(config.Service, "/")
	for _, e := range endpoints {
		e = strings.TrimSuffix(e, "/")
		switch {
		case slices.Contains(c.nodes, e), slices.Contains(c.collateral, e):
		case strings.HasSuffix(e, CollateralPath):
			c.collateral = append(c.collateral, e)
		default:
			c.nodes = append(c.nodes, e)
		}
	}
	if len(c.nodes) == 0 || len(c.nodes)+len(c.collateral) > maxEndpoints {
		return nil, vm.Refuse(vm.CodeInvalid, "%d nodes of %s given, want 1 to %d", len(c.nodes), vm.ProviderSecretNetwork, maxEndpoints)
	}
	return c, nil
}

// Session is what the contract gave.
type Session struct {
	secret   []byte // the service's, 32 bytes
	disk     [32]byte
	env      []byte
	suspects []string
}

// Release shows a quote to the contract and returns what it gives. It asks again
// for as long as no enclave has answered and ctx lasts. The error is, or wraps, a
// *vm.Refusal.
func (c *Client) Release(ctx context.Context, q Quoter) (*Session, error) {
	return c.ReleaseBy(ctx, func(ctx context.Context) (*ecdh.PrivateKey, vm.Evidence, error) {
		return quoteKey(ctx, q, c.config.InstanceID)
	})
}

// Quote draws a key that answers are sealed to, and quotes it.
type Quote func(context.Context) (*ecdh.PrivateKey, vm.Evidence, error)

// quoteKey is a Quote of q, for an instance.
func quoteKey(ctx context.Context, q Quoter, instanceID string) (*ecdh.PrivateKey, vm.Evidence, error) {
	private, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, vm.Evidence{}, fmt.Errorf("make a session key: %w", err)
	}
	about, err := vm.ContractReportData(private.PublicKey().Bytes(), instanceID)
	if err != nil {
		return nil, vm.Evidence{}, err
	}
	evidence, err := q.Quote(ctx, about)
	if err != nil {
		return nil, vm.Evidence{}, fmt.Errorf("make a quote: %w", err)
	}
	return private, evidence, nil
}

// ReleaseBy is Release of a machine whose quotes are made by a process that
// makes none but for releases.
func (c *Client) ReleaseBy(ctx context.Context, quote Quote) (*Session, error) {
	defer c.HTTP.CloseIdleConnections()
	var s *Session
	err := client.Persist(ctx, c.Waiting, func(ctx context.Context) (err error) {
		s, err = c.release(ctx, quote)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("request keys of contract %s: %w", c.contract, err)
	}
	return s, nil
}

func (c *Client) release(ctx context.Context, quote Quote) (*Session, error) {
	private, evidence, err := quote(ctx)
	if err != nil {
		return nil, err
	}
	if evidence.Collateral == nil && evidence.TEE != vm.SNP {
		if evidence.Collateral, err = c.fetchCollateral(ctx, evidence.Quote); err != nil {
			return nil, err
		}
	}
	s := &Session{}
	secret, err := c.secret(ctx, private, "get_secret_key", "encrypted_secret_key", evidence, &s.suspects)
	if err != nil {
		return nil, err
	}
	if s.secret, err = readSecret(secret); err != nil {
		return nil, err
	}
	key, err := hkdf.Key(sha256.New, s.secret, nil, diskInfo(c.config.Service, c.config.InstanceID), len(s.disk))
	if err != nil {
		return nil, fmt.Errorf("derive the disk key: %w", err)
	}
	copy(s.disk[:], key)
	clear(key)
	if len(c.config.Env) > 0 {
		if s.env, err = c.secret(ctx, private, "get_env_by_service", "encrypted_secrets_plaintext", evidence, &s.suspects); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// readSecret accepts 32 bytes, as the contract keeps a service's, or their hex,
// as it keeps a machine's.
func readSecret(b []byte) ([]byte, error) {
	if len(b) == 64 {
		out, err := hex.DecodeString(string(b))
		if err == nil {
			return out, nil
		}
	}
	if len(b) != 32 {
		return nil, vm.Refuse(vm.CodeMalformed, "the contract gave a secret of %d bytes, want 32", len(b))
	}
	return b, nil
}

// secret asks one question that shows evidence and opens the answer's field.
func (c *Client) secret(ctx context.Context, private *ecdh.PrivateKey, name, field string, ev vm.Evidence, suspects *[]string) ([]byte, error) {
	message, err := ask(name, c.service, ev)
	if err != nil {
		return nil, vm.Refuse(vm.CodeCollateral, "%v", err).Try("name a service that gives it among the machine's key manager URLs: one that ends in " + CollateralPath)
	}
	answer, err := c.query(ctx, message, suspects)
	if err != nil {
		return nil, err
	}
	var fields map[string]string
	if err := json.Unmarshal(answer, &fields); err != nil {
		return nil, vm.Refuse(vm.CodeMalformed, "the contract answers %s with something else than text fields", name)
	}
	plain, err := openSecret(private, fields["encryption_pub_key"], fields[field])
	if err != nil {
		return nil, vm.Refuse(vm.CodeSignature, "what the contract sealed as %s: %v", field, err)
	}
	return plain, nil
}

// query asks one node after the other until an enclave has answered. That it was
// one shows in the answer: nobody else has the key that encrypts it.
func (c *Client) query(ctx context.Context, message []byte, suspects *[]string) ([]byte, error) {
	q, err := newQuestion(c.consensus, c.config.KMS.Contract.CodeHash, message)
	if err != nil {
		return nil, err
	}
	defer clear(q.key)
	var all []error
	answering := 0
	for _, node := range c.nodes {
		answer, err := c.askNode(ctx, node, q)
		var refusal *vm.Refusal
		if err == nil || errors.As(err, &refusal) {
			return answer, err
		}
		if errors.Is(err, errAltered) {
			answering++
			*suspects = append(*suspects, fmt.Sprintf("node %s: %v", node, err))
		}
		all = append(all, fmt.Errorf("node %s: %w", node, err))
	}
	return nil, &client.Outage{
		Answering: answering, Nodes: len(c.nodes), Needed: 1, But: "no enclave of the pinned network answers", Err: errors.Join(all...),
	}
}

// askNode returns the contract's answer, or a *vm.Refusal with the contract's own
// reason; every other error is the node's doing.
func (c *Client) askNode(ctx context.Context, node string, q *question) ([]byte, error) {
	at := node + "/compute/v1beta1/query/" + c.contract + "?query=" + url.QueryEscape(base64.URLEncoding.EncodeToString(q.sealed))
	status, body, err := c.call(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, err
	}
	var a struct {
		Data    string `json:"data"`
		Message string `json:"message"`
	}
	if err := json.Unmarshal(body, &a); err != nil {
		return nil, fmt.Errorf("it answers %d and no JSON of the network", status)
	}
	if status == http.StatusOK {
		sealed, err := base64.StdEncoding.DecodeString(a.Data)
		if err != nil {
			return nil, fmt.Errorf("%w: not base64", errAltered)
		}
		return q.open(sealed)
	}
	if reason, ok := q.reason(a.Message); ok {
		return nil, vm.Refuse(vm.CodePermission, "the contract refuses: %.500q", reason).
			Try("is this image among the service's filters, and its MRTD and RTMR0 on the contract's hardware list?")
	}
	return nil, fmt.Errorf("it answers %d: %.200q", status, a.Message)
}

// encryptedReason is the contract's error in a node's message: "encrypted:
// <base64>: query contract failed", or the other way round in older networks.
var encryptedReason = regexp.MustCompile(`encrypted: ([A-Za-z0-9+/=]+)`)

// reason finds the contract's error in a node's message. Only what decrypts is
// the contract's; some networks put base64 around it.
func (q *question) reason(message string) (string, bool) {
	found := encryptedReason.FindStringSubmatch(message)
	if found == nil {
		return "", false
	}
	sealed, err := base64.StdEncoding.DecodeString(found[1])
	if err != nil {
		return "", false
	}
	plain, err := open(q.key, sealed, noData)
	if err != nil {
		return "", false
	}
	if inner, err := base64.StdEncoding.DecodeString(string(plain)); err == nil {
		plain = inner
	}
	return string(plain), true
}

// fetchCollateral asks the services that the host names what Intel signed about
// a quote. Whoever judges the quote judges the answer.
func (c *Client) fetchCollateral(ctx context.Context, quote []byte) (*vm.Collateral, error) {
	in, err := json.Marshal(map[string]string{"quote": hex.EncodeToString(quote)})
	if err != nil {
		return nil, fmt.Errorf("encode the quote: %w", err)
	}
	var all []error
	for _, service := range c.collateral {
		status, body, err := c.call(ctx, http.MethodPost, service, in)
		var a struct {
			Collateral string `json:"collateral"`
		}
		if err == nil && (status != http.StatusOK || json.Unmarshal(body, &a) != nil) {
			err = fmt.Errorf("it answers %d and no collateral", status)
		}
		if err == nil {
			var raw []byte
			if raw, err = hex.DecodeString(a.Collateral); err == nil {
				var out vm.Collateral
				if out, err = decodeCollateral(raw); err == nil {
					return &out, nil
				}
			}
		}
		all = append(all, fmt.Errorf("%s: %w", service, err))
	}
	if len(all) == 0 {
		return nil, vm.Refuse(vm.CodeCollateral, "the machine has no collateral for its quote").
			Try("name a service that gives it among the machine's key manager URLs: one that ends in " + CollateralPath)
	}
	return nil, &client.Outage{Answering: 0, Nodes: len(c.collateral), Needed: 1, Err: errors.Join(all...)}
}

// call sends a request and reads a bounded answer.
func (c *Client) call(ctx context.Context, method, at string, in []byte) (status int, body []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, at, bytes.NewReader(in))
	if err != nil {
		return 0, nil, errors.New("its address is no URL")
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := c.HTTP.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) { // it quotes the URL, which holds the whole question
			err = u.Err
		}
		return 0, nil, fmt.Errorf("it does not answer: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err = io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err == nil && len(body) > maxAnswer {
		err = fmt.Errorf("it answers more than %d bytes", maxAnswer)
	}
	return res.StatusCode, body, err
}
