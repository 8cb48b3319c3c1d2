package api

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/secretvm/secretvm/guest/api/proof"
	"github.com/secretvm/secretvm/guest/ipc"
	"github.com/secretvm/secretvm/vm"
)

// Machine proves what the machine says, and keeps the application's log: a
// *proof.Desk, in this process or in another.
type Machine interface {
	Quote(ctx context.Context, q proof.Question) (proof.Answer, error)
	Add(ctx context.Context, e proof.Event) (proof.Logged, error)
	Log(ctx context.Context, from proof.From) (proof.Log, error)
}

// desk is the one of guestd.
type desk struct{ client *ipc.Client }

func (d desk) Quote(ctx context.Context, q proof.Question) (proof.Answer, error) {
	return ipc.Ask[proof.Question, proof.Answer](ctx, d.client, proof.AskQuote, q)
}

func (d desk) Add(ctx context.Context, e proof.Event) (proof.Logged, error) {
	return ipc.Ask[proof.Event, proof.Logged](ctx, d.client, proof.AskEvent, e)
}

func (d desk) Log(ctx context.Context, from proof.From) (proof.Log, error) {
	return ipc.Ask[proof.From, proof.Log](ctx, d.client, proof.AskLog, from)
}

// known is what of the application's log was read already: it only grows.
type known struct {
	mu     sync.Mutex
	events []vm.Event
}

// read returns the log up to its nth event, of n < 0 all of it and what it folds
// into.
func (k *known) read(ctx context.Context, m Machine, n int) (register vm.Register, events []vm.Event, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for n < 0 || len(k.events) < n {
		page, err := m.Log(ctx, proof.From{N: len(k.events)})
		if err != nil {
			return register, nil, err
		}
		k.events = append(k.events, page.Events...)
		if n < 0 && len(k.events) >= page.All {
			return page.Register, slices.Clone(k.events), nil
		}
		if len(page.Events) == 0 {
			return register, nil, fmt.Errorf("read the application's log: it ends after %d events", len(k.events))
		}
	}
	return register, slices.Clone(k.events[:n]), nil
}
