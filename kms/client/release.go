package client

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"net/http"
	"time"

	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/kms/wire"
	"github.com/secretvm/secretvm/vm"
)

// Tries and pauses. A node that has just started has no fresh block for some
// seconds, and a block may grow old while a slow machine makes its quote.
const (
	maxTries = 4
	pause    = 2 * time.Second
)

// Release asks for keys and returns a session that holds them. The error is, or
// wraps, a *vm.Refusal: what the chain decided; CodeUnavailable when no node
// answered; CodeSignature, naming the nodes, when answers were wrong.
func (c *Client) Release(ctx context.Context, q Quoter, r Request) (*Session, error) {
	s, err := c.newSession()
	if err != nil {
		return nil, err
	}
	config, err := r.Config.Canonical()
	if err != nil {
		return nil, fmt.Errorf("request keys: %w", err)
	}
	for try := 1; ; try++ {
		err = s.ask(ctx, q, r, config)
		retry := vm.CodeOf(err) == vm.CodeStale || vm.CodeOf(err) == vm.CodeUnavailable
		if err == nil || !retry || try == maxTries {
			break
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, fmt.Errorf("request keys: %w (%w)", err, ctx.Err())
		}
	}
	if err != nil {
		return nil, fmt.Errorf("request keys: %w", err)
	}
	if err := s.collect(ctx, r.Keys); err != nil {
		return nil, fmt.Errorf("collect keys: %w", err)
	}
	return s, nil
}

// newSession draws the keys that live as long as this boot.
func (c *Client) newSession() (*Session, error) {
	recipient, err := keys.NewRecipient()
	if err != nil {
		return nil, err
	}
	_, session, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a session key: %w", err)
	}
	return &Session{
		client: c, recipient: recipient, session: session,
		secrets: make(map[keys.ID]keys.Secret), misled: make(map[string]bool),
	}, nil
}

// ask makes a quote about the newest block and offers it to node after node,
// until one brings a grant.
func (s *Session) ask(ctx context.Context, q Quoter, r Request, config []byte) error {
	c := s.client
	if err := s.look(ctx); err != nil {
		return err
	}
	newest := s.newest()
	about := vm.Release{
		ChainID: c.chainID, BlockHash: newest.status.BlockHash, InstanceID: r.Config.InstanceID,
		HPKEKey: s.recipient.Public(), SessionKey: s.publicKey(),
	}
	evidence, err := q.Quote(ctx, about.ReportData())
	if err != nil {
		return fmt.Errorf("make a quote: %w", err)
	}
	evidence.Events = r.Events
	evidence.BootLog = nil // the chain decides by registers; a log would only make the request larger
	offer := wire.Release{
		Service: r.Config.Service, InstanceID: r.Config.InstanceID, HPKEKey: about.HPKEKey, SessionKey: about.SessionKey,
		Height: newest.status.Height, BlockHash: about.BlockHash, Config: config, Evidence: evidence, Keys: r.Keys,
	}
	want := vm.Hash(keys.GrantID(c.chainID, about.ReportData()))
	var first error
	for _, endpoint := range s.order() {
		grant, err := s.offer(ctx, endpoint, offer, want)
		if err == nil {
			s.grant = grant
			return nil
		}
		// One node's word is not the chain's: ask the next, but tell of the
		// first decision, which later ones repeat.
		if first == nil || vm.CodeOf(first) == vm.CodeUnavailable {
			first = err
		}
	}
	if vm.CodeOf(first) == vm.CodeStale {
		s.misled[newest.endpoint] = true
	}
	return first
}

// offer posts a release to one node. Where the answer was lost on the way, the
// grant may be on the ledger: its id is known beforehand.
func (s *Session) offer(ctx context.Context, endpoint string, offer wire.Release, want vm.Hash) (wire.Grant, error) {
	c := s.client
	var grant wire.Grant
	err := wire.Call(ctx, c.HTTP, http.MethodPost, endpoint, wire.PathRelease, offer, &grant)
	if code := vm.CodeOf(err); err != nil && (code == vm.CodeReplayed || code == vm.CodeUnavailable) {
		if wire.Call(ctx, c.HTTP, http.MethodGet, endpoint, wire.PathGrants+"/"+want.String(), nil, &grant) == nil {
			err = nil
		}
	}
	if err != nil {
		return grant, err
	}
	if grant.ID != want || grant.Service != offer.Service || grant.InstanceID != offer.InstanceID ||
		string(grant.HPKEKey) != string(offer.HPKEKey) || string(grant.SessionKey) != string(offer.SessionKey) {
		s.suspect(endpoint, "its grant is not about this release")
		return grant, vm.Refuse(vm.CodeSignature, "node %s answered with a grant that is not about this release", endpoint)
	}
	return grant, nil
}
