package client

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/kms/wire"
	"github.com/secretvm/secretvm/vm"
)

// Release asks for keys and returns a session that holds them. It asks again for
// as long as there is no decision (see Persist) and ctx lasts, and tells
// c.Waiting what it waits for. The error is, or wraps, a *vm.Refusal: what the
// chain decided, or, when ctx ended, what was the matter last.
func (c *Client) Release(ctx context.Context, q Quoter, r Request) (*Session, error) {
	return c.ReleaseBy(ctx, func(ctx context.Context, about vm.Release) (vm.Evidence, error) {
		return q.Quote(ctx, about.ReportData())
	}, r)
}

// Quote makes a quote for a release, by what the release says.
type Quote func(ctx context.Context, about vm.Release) (vm.Evidence, error)

// ReleaseBy is Release of a machine whose quotes are made by a process that
// makes none but for releases.
func (c *Client) ReleaseBy(ctx context.Context, quote Quote, r Request) (*Session, error) {
	s, err := c.newSession()
	if err != nil {
		return nil, err
	}
	config, err := r.Config.Canonical()
	if err != nil {
		return nil, fmt.Errorf("request keys: %w", err)
	}
	err = Persist(ctx, c.Waiting, func(ctx context.Context) error {
		if s.granted.IsZero() || time.Since(s.grantedAt) > grantPatience {
			if err := s.ask(ctx, quote, r, config); err != nil {
				return err
			}
		} else if views := s.views; s.look(ctx) != nil { // the secret may be shared anew by now
			s.views = views // a node without a fresh block still answers for a grant
		}
		return s.collect(ctx)
	})
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("request keys: %w", err)
	}
	return s, nil
}

// grantPatience is how long a grant is used before another is asked for. Nodes
// answer for a grant for ten minutes; asking anew costs the chain a transaction.
const grantPatience = 8 * time.Minute

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
	s := &Session{
		client: c, recipient: recipient, session: session,
		sigmas: make(map[keys.ID]keys.Signature), misled: make(map[string]bool),
	}
	s.points.remember(c.group.String(), c.group)
	return s, nil
}

// ask makes a quote about a recent block and offers it to nodes, until one
// brings a grant or enough of them have brought the same chain's refusal.
func (s *Session) ask(ctx context.Context, quote Quote, r Request, config []byte) error {
	c := s.client
	s.granted = vm.Hash{}
	if err := s.look(ctx); err != nil {
		return err
	}
	chosen := s.anchor()
	about := vm.Release{
		ChainID: c.chainID, BlockHash: chosen.status.BlockHash, InstanceID: r.Config.InstanceID,
		HPKEKey: s.recipient.Public(), SessionKey: s.publicKey(),
	}
	evidence, err := quote(ctx, about)
	if err != nil {
		return fmt.Errorf("make a quote: %w", err)
	}
	evidence.Events = r.Events
	evidence.BootLog = nil // the chain decides by registers; a log would only make the request larger
	offer := wire.Release{
		Service: r.Config.Service, InstanceID: r.Config.InstanceID, HPKEKey: about.HPKEKey, SessionKey: about.SessionKey,
		Height: chosen.status.Height, BlockHash: about.BlockHash, Config: config, Evidence: evidence, Keys: r.Keys,
	}
	want := vm.Hash(keys.GrantID(c.chainID, about.ReportData()))
	if s.offered != want { // the same again may have been granted when it was offered first
		s.offered, s.offeredAt = want, time.Now()
	}

	var decisions, outages []error
	race(ctx, s.order(chosen), 1, s.patience(),
		func(ctx context.Context, endpoint string) (wire.Grant, error) {
			return s.offer(ctx, endpoint, offer, want)
		},
		func(h heard[wire.Grant]) bool {
			switch {
			case h.err == nil:
				s.granted, s.grantedAt, s.grant, s.asked, s.grantedBy = want, time.Now(), h.value, offer, h.endpoint
				return true
			case decided(h.err):
				decisions = append(decisions, h.err)
			default:
				outages = append(outages, h.err)
				if errors.Is(h.err, errLied) {
					s.suspect(h.endpoint, h.err.Error())
				}
			}
			return len(decisions) >= s.agreeing()
		})
	switch {
	case !s.granted.IsZero():
		return nil
	case len(decisions) >= s.agreeing(), len(decisions) > 0 && len(outages) == 0:
		return decisions[0]
	}
	return s.undecided(chosen, decisions, outages)
}

// undecided is the Outage of a release that brought neither a grant nor enough
// refusals to believe them: one node's word is not the chain's.
func (s *Session) undecided(chosen view, decisions, outages []error) error {
	o := s.outage(len(s.views), "the chain does not decide", errors.Join(append(outages, decisions...)...))
	for _, err := range outages {
		if vm.CodeOf(err) == vm.CodeStale {
			o.retake = !s.misled[chosen.endpoint] && len(s.views) > 1
			s.misled[chosen.endpoint] = true
			o.But = "none of them names a recent block"
		}
	}
	if o.Err == nil {
		o.Err = vm.Refuse(vm.CodeUnavailable, "no node passes the release on")
	}
	return o
}

// decided reports whether err is a decision, which asking again will not change.
func decided(err error) bool {
	switch vm.CodeOf(err) {
	case vm.CodeUnavailable, vm.CodeStale, vm.CodeReplayed, vm.CodeInternal:
		return false
	default:
		return !errors.Is(err, errLied)
	}
}

// offer posts a release to one node. Where the answer was lost on the way, or
// another node was faster, the grant may be on the ledger: its id is known
// beforehand.
func (s *Session) offer(ctx context.Context, endpoint string, offer wire.Release, want vm.Hash) (wire.Grant, error) {
	ctx, cancel := context.WithTimeout(ctx, decideTimeout)
	defer cancel()
	c := s.client
	var grant wire.Grant
	err := wire.Call(ctx, c.HTTP, http.MethodPost, endpoint, wire.PathRelease, offer, &grant)
	if code := vm.CodeOf(err); err != nil && (code == vm.CodeReplayed || code == vm.CodeUnavailable) {
		grant = wire.Grant{}
		if wire.Call(ctx, c.HTTP, http.MethodGet, endpoint, wire.PathGrants+"/"+want.String(), nil, &grant) == nil {
			err = nil
		}
	}
	if errors.Is(err, wire.ErrGarbage) {
		err = fmt.Errorf("%w: %w", errLied, err)
	}
	if err != nil {
		return grant, err
	}
	return grant, checkGrant(endpoint, grant, offer, want)
}

// checkGrant reports a grant that is not about a release.
func checkGrant(endpoint string, grant wire.Grant, offer wire.Release, want vm.Hash) error {
	if grant.ID != want || grant.Service != offer.Service || grant.InstanceID != offer.InstanceID ||
		string(grant.HPKEKey) != string(offer.HPKEKey) || string(grant.SessionKey) != string(offer.SessionKey) {
		return fmt.Errorf("%w: %w", errLied, vm.Refuse(vm.CodeSignature, "node %s answered with a grant that is not about this release", endpoint))
	}
	return nil
}
