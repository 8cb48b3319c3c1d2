package attestd

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Bounds on what strangers make the machine work: a quarter of one processor,
// as measured, up to workBurst at once. A piece of work is a request or a
// connection; what one costs is measured anew each second, on this processor.
const (
	workShare    = 4 // one part in so many
	workBurst    = time.Second
	workPatience = 10 * time.Second
	firstCost    = 500 * time.Microsecond
	minCost      = 100 * time.Microsecond
	maxCost      = 50 * time.Millisecond
	enoughPieces = 20 // to measure what one costs
)

// A governor lets pieces of work begin so that all of them take workShare of a
// processor.
type governor struct {
	pacer pacer
	used  func() time.Duration // processor time of this process, or of more

	mu     sync.Mutex
	each   time.Duration // what a piece costs
	since  time.Time     // when counting began,
	from   time.Duration // and what was used then
	pieces int           // since then
}

func newGovernor(used func() time.Duration) *governor {
	return &governor{pacer: pacer{burst: workBurst, patience: workPatience}, used: used, each: firstCost, since: time.Now(), from: used()}
}

// take waits for the turn of one piece.
func (g *governor) take(ctx context.Context) error {
	g.mu.Lock()
	g.pieces++
	if now := time.Now(); now.Sub(g.since) >= time.Second {
		used := g.used()
		if g.pieces >= enoughPieces { // else most of it was for something else
			g.each = min(max((used-g.from)/time.Duration(g.pieces), minCost), maxCost)
		}
		g.since, g.from, g.pieces = now, used, 0
	}
	cost := workShare * g.each
	g.mu.Unlock()
	return g.pacer.take(ctx, cost)
}

// processTime is the processor time of this process so far.
func processTime() time.Duration {
	var usage unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &usage) // cannot fail
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// errBusy says that a turn did not come in time, or that too many wait for one.
var errBusy = errors.New("too much is asked for at once")

// A pacer lets work begin at a bounded rate: each piece costs time, cost is
// paid back as time passes, and up to burst may be owed. Who would owe more
// waits. So a flood slows down those who flood, and not the machine.
type pacer struct {
	burst    time.Duration // that may be owed
	patience time.Duration // who would wait longer is turned away

	mu   sync.Mutex
	paid time.Time // when all that was booked is paid back
}

// take books cost and waits until it is that work's turn.
func (p *pacer) take(ctx context.Context, cost time.Duration) error {
	p.mu.Lock()
	owed := max(0, time.Until(p.paid)) + cost
	wait := owed - p.burst
	if wait <= p.patience {
		p.paid = time.Now().Add(owed)
	}
	p.mu.Unlock()
	switch {
	case wait > p.patience:
		return errBusy
	case wait <= 0:
		return nil
	}
	select {
	case <-time.After(wait):
		return nil
	case <-ctx.Done():
		return errBusy
	}
}

// book adds the cost of work that was not known when it began.
func (p *pacer) book(cost time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.paid = time.Now().Add(max(0, time.Until(p.paid)) + cost)
}
