package attestd

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/secretvm/secretvm/guest/pace"
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
	pacer pace.Pacer
	used  func() time.Duration // processor time of this process, or of more

	mu     sync.Mutex
	each   time.Duration // what a piece costs
	since  time.Time     // when counting began,
	from   time.Duration // and what was used then
	pieces int           // since then
}

func newGovernor(used func() time.Duration) *governor {
	return &governor{pacer: pace.Pacer{Burst: workBurst, Patience: workPatience}, used: used, each: firstCost, since: time.Now(), from: used()}
}

// take waits for the turn of one piece.
func (g *governor) take(ctx context.Context) error {
	g.mu.Lock()
	g.pieces++
	if now := time.Now(); now.Sub(g.since) >= time.Second {
		used := g.used()
		switch {
		case g.pieces >= enoughPieces: // else most of it was for something else
			g.each = min(max((used-g.from)/time.Duration(g.pieces), minCost), maxCost)
		case used-g.from < now.Sub(g.since)/(2*workShare): // what was expensive once is not any more
			g.each = max(g.each/2, min(g.each, firstCost))
		}
		g.since, g.from, g.pieces = now, used, 0
	}
	cost := workShare * g.each
	g.mu.Unlock()
	return g.pacer.Take(ctx, cost)
}

// processTime is the processor time of this process so far.
func processTime() time.Duration {
	var usage unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &usage) // cannot fail
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
