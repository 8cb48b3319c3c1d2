package attestd

import (
	"context"
	"time"

	"github.com/secretvm/secretvm/guest/attestation"
	"github.com/secretvm/secretvm/guest/pace"
	"github.com/secretvm/secretvm/vm"
)

// Bounds on quoting.
const (
	quoteQueue = 768 // requests that may wait for their turn; other connections stay free
	quoteLife  = time.Minute
)

// quote asks guestd for one, when its turn comes.
func (s *Server) quote(ctx context.Context, q attestation.Question) (a attestation.Answer, err error) {
	err = s.gate.Do(ctx, func(ctx context.Context) error {
		a, err = s.opt.Quotes.Quote(ctx, q)
		s.counts.quoted(a.Took, err)
		return err
	})
	return a, err
}

// keptQuote remembers for a minute the evidence about something that does not
// change, and no nonce. However many ask, one quote is made.
type keptQuote struct {
	ask  func(context.Context) (attestation.Answer, error)
	turn chan struct{} // holds one token while somebody looks or asks

	evidence vm.Evidence
	made     time.Time
}

func (s *Server) keep(q attestation.Question) *keptQuote {
	return &keptQuote{
		ask:  func(ctx context.Context) (attestation.Answer, error) { return s.quote(ctx, q) },
		turn: make(chan struct{}, 1),
	}
}

// get returns the evidence.
func (c *keptQuote) get(ctx context.Context) (vm.Evidence, error) {
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return vm.Evidence{}, pace.ErrBusy
	}
	defer func() { <-c.turn }()
	if c.made.IsZero() || time.Since(c.made) > quoteLife {
		a, err := c.ask(ctx)
		if err != nil {
			return vm.Evidence{}, err
		}
		c.evidence, c.made = a.Evidence, time.Now()
	}
	return c.evidence, nil
}
