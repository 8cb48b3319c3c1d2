package attestd

import (
	"context"
	"time"

	"github.com/secretvm/secretvm/vm"
)

// Bounds on quoting.
const (
	quoteQueue   = 768              // requests that may wait for their turn; other connections stay free
	quoteTimeout = 30 * time.Second // waiting and quoting together
	quoteBurst   = 2 * time.Second  // of quoting without a rest
	cpuQuoteLife = time.Minute
)

// quoteGate lets one quote be made at a time. While many ask, each is paid back
// by a rest as long as it took, so that a flood keeps the device busy half of
// the time and the workload's own quotes find it free. Who asks alone never
// meets the rest.
type quoteGate struct {
	quoter  Quoter
	turn    chan struct{} // holds one token while a quote is made
	waiting chan struct{} // holds one token for each request inside
	rest    pacer
	timeout time.Duration
	tell    func(took time.Duration, err error) // for metrics
}

func newQuoteGate(q Quoter, tell func(time.Duration, error)) *quoteGate {
	return &quoteGate{
		quoter: q, turn: make(chan struct{}, 1), waiting: make(chan struct{}, 1+quoteQueue),
		rest: pacer{burst: quoteBurst, patience: quoteTimeout}, timeout: quoteTimeout, tell: tell,
	}
}

// Quote returns errBusy, or what the quoter says.
func (g *quoteGate) Quote(ctx context.Context, reportData [64]byte) (vm.Evidence, error) {
	select {
	case g.waiting <- struct{}{}:
	default:
		return vm.Evidence{}, errBusy
	}
	defer func() { <-g.waiting }()
	ctx, cancel := context.WithTimeout(ctx, g.timeout)
	defer cancel()
	select {
	case g.turn <- struct{}{}:
	case <-ctx.Done():
		return vm.Evidence{}, errBusy
	}
	defer func() { <-g.turn }()
	if err := g.rest.take(ctx, 0); err != nil {
		return vm.Evidence{}, err
	}
	start := time.Now()
	ev, err := g.quoter.Quote(ctx, reportData)
	took := time.Since(start)
	if len(g.waiting) > 1 { // others wait already
		g.rest.book(2 * took) // it has been paying since the start, and rests as long again
	}
	g.tell(took, err)
	return ev, err
}

// cpuQuote remembers the evidence of /cpu, which binds the key and no nonce,
// for a minute. However many ask, one quote is made.
type cpuQuote struct {
	gate       *quoteGate
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
		return vm.Evidence{}, errBusy
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
