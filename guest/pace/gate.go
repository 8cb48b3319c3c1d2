package pace

import (
	"context"
	"time"

	"github.com/secretvm/secretvm/vm"
)

// Bounds on quoting.
const (
	QuoteTimeout = 30 * time.Second // waiting and quoting together
	quoteBurst   = 2 * time.Second  // of quoting without a rest
)

// Quoter asks the machine's TEE for a quote over reportData. The evidence
// comes without events.
type Quoter interface {
	Quote(ctx context.Context, reportData [64]byte) (vm.Evidence, error)
}

// Gate lets one quote be made at a time. While many ask, each is paid back by a
// rest as long as it took, so that a flood keeps the device busy half of the
// time and others find it free. Who asks alone never meets the rest, unless the
// gate is Strict.
type Gate struct {
	Strict  bool          // rest after every quote, not only while others wait
	Timeout time.Duration // QuoteTimeout
	Rest    Pacer         // what may be owed of rests

	quoter  Quoter
	turn    chan struct{}                       // holds one token while a quote is made
	waiting chan struct{}                       // holds one token for each request inside
	tell    func(took time.Duration, err error) // for metrics
}

// NewGate makes a gate before q, where up to queue requests may wait; nil: what
// Do is given asks. tell learns how long each quote took; nil: nobody does.
func NewGate(q Quoter, queue int, tell func(time.Duration, error)) *Gate {
	if tell == nil {
		tell = func(time.Duration, error) {}
	}
	return &Gate{
		quoter: q, turn: make(chan struct{}, 1), waiting: make(chan struct{}, 1+queue),
		Rest: Pacer{Burst: quoteBurst, Patience: QuoteTimeout}, Timeout: QuoteTimeout, tell: tell,
	}
}

// Quote returns ErrBusy, or what the quoter says.
func (g *Gate) Quote(ctx context.Context, reportData [64]byte) (ev vm.Evidence, err error) {
	err = g.Do(ctx, func(ctx context.Context) error {
		ev, err = g.quoter.Quote(ctx, reportData)
		return err
	})
	return ev, err
}

// Do has quote ask for one in whatever form. It returns ErrBusy, or what quote
// does.
func (g *Gate) Do(ctx context.Context, quote func(context.Context) error) error {
	select {
	case g.waiting <- struct{}{}:
	default:
		return ErrBusy
	}
	defer func() { <-g.waiting }()
	ctx, cancel := context.WithTimeout(ctx, g.Timeout)
	defer cancel()
	select {
	case g.turn <- struct{}{}:
	case <-ctx.Done():
		return ErrBusy
	}
	defer func() { <-g.turn }()
	if err := g.Rest.Take(ctx, 0); err != nil {
		return err
	}
	start := time.Now()
	err := quote(ctx)
	took := time.Since(start)
	if g.Strict || len(g.waiting) > 1 { // others wait already
		g.Rest.Book(2 * took) // it has been paying since the start, and rests as long again
	}
	g.tell(took, err)
	return err
}
