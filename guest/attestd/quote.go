package attestd

import (
	"context"
	"time"

	"github.com/secretvm/secretvm/guest/pace"
	"github.com/secretvm/secretvm/vm"
)

// Bounds on quoting.
const (
	quoteQueue   = 768 // requests that may wait for their turn; other connections stay free
	cpuQuoteLife = time.Minute
)

// cpuQuote remembers the evidence of /cpu, which binds the key and no nonce,
// for a minute. However many ask, one quote is made.
type cpuQuote struct {
	gate       *pace.Gate
	reportData [64]byte

	turn     chan struct{} // holds one token while somebody looks or asks
	evidence vm.Evidence
	made     time.Time
}

// cpuReportData is the binding that existing verifiers look for: the SHA-256
// of the SubjectPublicKeyInfo, then the GPU nonce, zero without a GPU.
func cpuReportData(spki vm.Hash) (rd [64]byte) {
	copy(rd[:], spki[:])
	return rd
}

func (c *cpuQuote) get(ctx context.Context) (vm.Evidence, error) {
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return vm.Evidence{}, pace.ErrBusy
	}
	defer func() { <-c.turn }()
	if c.made.IsZero() || time.Since(c.made) > cpuQuoteLife {
		ev, err := c.gate.Quote(ctx, c.reportData)
		if err != nil {
			return ev, err
		}
		c.evidence, c.made = ev, time.Now()
	}
	return c.evidence, nil
}
