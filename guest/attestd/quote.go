package attestd

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/secretvm/secretvm/vm"
)

// Bounds on quoting.
const (
	quoteQueue   = 8                // requests that may wait for their turn
	quoteTimeout = 30 * time.Second // waiting and quoting together
	quoteRest    = 250 * time.Millisecond
	cpuQuoteLife = time.Minute
)

// errBusy says that the queue is full or the turn did not come in time.
var errBusy = errors.New("too many quotes are asked for at once")

// quoteGate lets one quote be made at a time. After each it rests as long as
// the quote took (at most quoteRest), so that a flood of requests costs the
// machine half of one processor at most and the workload keeps the others.
type quoteGate struct {
	quoter  Quoter
	turn    chan struct{} // holds one token while a quote is made
	waiting chan struct{} // holds one token for each request inside
	timeout time.Duration
}

func newQuoteGate(q Quoter) *quoteGate {
	return &quoteGate{
		quoter: q, turn: make(chan struct{}, 1), waiting: make(chan struct{}, 1+quoteQueue), timeout: quoteTimeout,
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
	start := time.Now()
	defer func() { time.AfterFunc(min(time.Since(start), quoteRest), func() { <-g.turn }) }()
	return g.quoter.Quote(ctx, reportData)
}

// cpuQuote remembers the quote of /cpu, which binds the key and no nonce, for
// a minute.
type cpuQuote struct {
	gate       *quoteGate
	reportData [64]byte

	mu    sync.Mutex
	quote []byte
	made  time.Time
}

// cpuReportData is the binding that existing verifiers look for: the SHA-256
// of the SubjectPublicKeyInfo, then the GPU nonce, zero without a GPU.
func cpuReportData(spki vm.Hash) (rd [64]byte) {
	copy(rd[:], spki[:])
	return rd
}

func (c *cpuQuote) get(ctx context.Context) ([]byte, error) {
	if quote := c.remembered(); quote != nil {
		return quote, nil
	}
	ev, err := c.gate.Quote(ctx, c.reportData) // without the lock: the gate bounds the wait
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.quote, c.made = ev.Quote, time.Now()
	return c.quote, nil
}

func (c *cpuQuote) remembered() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.made) > cpuQuoteLife {
		return nil
	}
	return c.quote
}
