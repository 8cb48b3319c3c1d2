// Package pace keeps those who ask the machine from asking too much of it:
// strangers through the attestation service, and containers through their API.
// Each of the two has its own pace, so that neither takes the other's share.
package pace

import (
	"context"
	"errors"
	"sync"
	"time"
)

// ErrBusy says that a turn did not come in time, or that too many wait for one.
var ErrBusy = errors.New("too much is asked for at once")

// A Pacer lets work begin at a bounded rate: each piece costs time, cost is
// paid back as time passes, and up to Burst may be owed. Who would owe more
// waits. So a flood slows down those who flood, and not the machine.
type Pacer struct {
	Burst    time.Duration // that may be owed
	Patience time.Duration // who would wait longer is turned away

	mu   sync.Mutex
	paid time.Time // when all that was booked is paid back
}

// Take books cost and waits until it is that work's turn, or returns ErrBusy.
func (p *Pacer) Take(ctx context.Context, cost time.Duration) error {
	p.mu.Lock()
	owed := max(0, time.Until(p.paid)) + cost
	wait := owed - p.Burst
	if wait <= p.Patience {
		p.paid = time.Now().Add(owed)
	}
	p.mu.Unlock()
	switch {
	case wait > p.Patience:
		return ErrBusy
	case wait <= 0:
		return nil
	}
	select {
	case <-time.After(wait):
		return nil
	case <-ctx.Done():
		return ErrBusy
	}
}

// Book adds the cost of work that was not known when it began.
func (p *Pacer) Book(cost time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.paid = time.Now().Add(max(0, time.Until(p.paid)) + cost)
}
