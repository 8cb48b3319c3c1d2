// Package release is the process that asks the key manager for a machine's keys
// (guest-service keys). It runs what reads the answers of nodes and hosts, with no
// rights and no device, and answers guestd alone: see package guest/keys.
package release

import (
	"context"
	"sync"

	"github.com/secretvm/secretvm/guest/ipc"
	"github.com/secretvm/secretvm/guest/keys"
	"github.com/secretvm/secretvm/kms/client"
	"github.com/secretvm/secretvm/vm"
)

// Run is the process: it answers until guestd ends it.
func Run() error {
	var settings keys.Settings
	ctx, stop, err := ipc.Begin(&settings)
	if err != nil {
		return err
	}
	defer stop()
	config, err := vm.ParseConfig(settings.Config)
	if err != nil {
		return err
	}
	l, err := ipc.Inherited(0)
	if err != nil {
		return err
	}
	return newServer(ctx, machine{settings.Endpoints, config, settings.Events}).Serve(ctx, l)
}

// machine is what the process asks for.
type machine struct {
	endpoints []string
	config    vm.Config
	events    []vm.Event
}

// newServer answers questions about a machine. Work goes on until ctx ends.
func newServer(ctx context.Context, m machine) *ipc.Server {
	var mu sync.Mutex
	var current *work
	begin := func(run func(context.Context, *work) (keys.Answer, error)) *work {
		mu.Lock()
		defer mu.Unlock()
		current = newWork(ctx, run)
		return current
	}
	s := ipc.NewServer(nil)
	ipc.Handle(s, keys.AskRelease, func(waits context.Context, _ struct{}) (keys.Answer, error) {
		return begin(m.release).next(waits)
	})
	ipc.Handle(s, keys.AskAdvance, func(waits context.Context, q keys.Advance) (keys.Answer, error) {
		return begin(func(ctx context.Context, w *work) (keys.Answer, error) { return m.advance(ctx, w, q) }).next(waits)
	})
	ipc.Handle(s, keys.AskOn, func(waits context.Context, q keys.Quoted) (keys.Answer, error) {
		mu.Lock()
		w := current
		mu.Unlock()
		if w == nil {
			return keys.Answer{}, vm.Refuse(vm.CodeInternal, "nothing was asked before")
		}
		if q.Evidence != nil {
			select {
			case w.quotes <- q:
			case <-waits.Done():
				return keys.Answer{}, waits.Err()
			}
		}
		return w.next(waits)
	})
	return s
}

// work goes on between the questions of guestd, which takes each of its answers.
type work struct {
	answers chan answer
	quotes  chan keys.Quoted
}

type answer struct {
	keys.Answer
	err error
}

func newWork(ctx context.Context, run func(context.Context, *work) (keys.Answer, error)) *work {
	w := &work{answers: make(chan answer), quotes: make(chan keys.Quoted)}
	go func() {
		a, err := run(ctx, w)
		w.say(ctx, a, err)
	}()
	return w
}

// say waits until guestd has asked for an answer.
func (w *work) say(ctx context.Context, a keys.Answer, err error) {
	select {
	case w.answers <- answer{a, err}:
	case <-ctx.Done():
	}
}

// next is the next answer.
func (w *work) next(ctx context.Context) (keys.Answer, error) {
	select {
	case a := <-w.answers:
		return a.Answer, a.err
	case <-ctx.Done():
		return keys.Answer{}, ctx.Err()
	}
}

// quote asks guestd for a quote.
func (w *work) quote(ctx context.Context, about keys.About) (keys.Quoted, error) {
	w.say(ctx, keys.Answer{Quote: &about}, nil)
	select {
	case q := <-w.quotes:
		return q, nil
	case <-ctx.Done():
		return keys.Quoted{}, ctx.Err()
	}
}

// waiting tells guestd what is waited for.
func (w *work) waiting(ctx context.Context) func(client.Wait) {
	return func(waits client.Wait) {
		said := ""
		if err := waits.Outage.Err; err != nil {
			said = err.Error()
		}
		w.say(ctx, keys.Answer{Waiting: &keys.Waiting{Text: waits.String(), Said: said}}, nil)
	}
}
