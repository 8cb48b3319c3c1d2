package attestd

import (
	"context"
	"time"

	"github.com/secretvm/secretvm/guest/pace"
	"github.com/secretvm/secretvm/vm"
)

// Bounds on quoting.
const (
	quoteQueue = 768 // requests that may wait for their turn; other connections stay free
	quoteLife  = time.Minute
)

// cpuReportData is the binding that existing verifiers look for: the SHA-256
// of the SubjectPublicKeyInfo, then the GPU nonce, zero without a GPU.
func (s *Server) cpuReportData() (rd [64]byte) {
	copy(rd[:], s.key.spki[:])
	copy(rd[32:], s.gpuNonce[:])
	return rd
}

// keptQuote remembers for a minute the evidence about something that does not
// change, and no nonce. However many ask, one quote is made.
type keptQuote struct {
	gate *pace.Gate
	turn chan struct{} // holds one token while somebody looks or asks

	evidence vm.Evidence
	made     time.Time
}

func newKeptQuote(gate *pace.Gate) *keptQuote {
	return &keptQuote{gate: gate, turn: make(chan struct{}, 1)}
}

// get returns evidence about reportData, which is the same each time.
func (c *keptQuote) get(ctx context.Context, reportData [64]byte) (vm.Evidence, error) {
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return vm.Evidence{}, pace.ErrBusy
	}
	defer func() { <-c.turn }()
	if c.made.IsZero() || time.Since(c.made) > quoteLife {
		ev, err := c.gate.Quote(ctx, reportData)
		if err != nil {
			return ev, err
		}
		c.evidence, c.made = ev, time.Now()
	}
	return c.evidence, nil
}
