package attestd

import (
	"context"
	"errors"
	"sync"
	"time"
)

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
