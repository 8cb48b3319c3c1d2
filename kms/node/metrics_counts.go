package node

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	cmttypes "github.com/cometbft/cometbft/types"

	"github.com/secretvm/secretvm/vm"
)

// counts is what a node counts. The zero value has counted nothing.
type counts struct {
	decisions    tally // on the ledger, whoever relayed them
	releases     tally // that this node relayed
	releaseTime  histogram
	partials     tally
	partialsTime histogram
	requests     tally
}

// maxLabels bounds the values of a label, whatever is counted.
const maxLabels = 64

// tally counts things by a word.
type tally struct {
	mu sync.Mutex
	of map[string]uint64
}

func (t *tally) add(label string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.of == nil {
		t.of = map[string]uint64{}
	}
	if _, known := t.of[label]; !known && len(t.of) >= maxLabels {
		label = "other"
	}
	t.of[label]++
}

type tallied struct {
	label string
	n     uint64
}

// rows are the counts in the order of their words.
func (t *tally) rows() (out []tallied) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for label, n := range t.of {
		out = append(out, tallied{label, n})
	}
	slices.SortFunc(out, func(a, b tallied) int { return strings.Compare(a.label, b.label) })
	return out
}

// bounds are the upper bounds of a histogram's buckets, in seconds.
var bounds = [...]float64{.005, .01, .025, .05, .1, .15, .2, .3, .5, 1, 2, 5, 10}

// histogram counts durations.
type histogram struct {
	mu     sync.Mutex
	counts [len(bounds) + 1]uint64 // of each bucket alone; the last has no bound
	sum    time.Duration
}

func (h *histogram) add(d time.Duration) {
	i, _ := slices.BinarySearch(bounds[:], d.Seconds())
	h.mu.Lock()
	defer h.mu.Unlock()
	h.counts[i]++
	h.sum += d
}

func (h *histogram) read() ([len(bounds) + 1]uint64, time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.counts, h.sum
}

// counted counts what f answers, by "ok" or the refusal's code, and how long it
// took.
func counted[Q, A any](t *tally, h *histogram, f func(context.Context, Q) (A, error)) func(context.Context, Q) (A, error) {
	return func(ctx context.Context, q Q) (A, error) {
		start := time.Now()
		a, err := f(ctx, q)
		h.add(time.Since(start))
		result := "ok"
		if err != nil {
			result = string(vm.CodeOf(err))
		}
		t.add(result)
		return a, err
	}
}

// observe counts the requests of a kind by the status of their answers.
func (c *counts) observe(kind string, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := &observed{ResponseWriter: w, status: http.StatusOK}
		h.ServeHTTP(answer, r)
		c.requests.add(fmt.Sprintf("%s %d", kind, answer.status))
	})
}

// observed remembers the status.
type observed struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (w *observed) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (w *observed) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// load is how many releases wait, and how many transactions are under way.
func (b *batch) load() (waiting, flying int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.waiting), b.flying
}

// follow counts the decisions of every block until ctx ends.
func (c *counts) follow(ctx context.Context, l *ledger) {
	const name = "kmsd-metrics"
	bus := l.comet.EventBus()
	for ctx.Err() == nil {
		sub, err := bus.Subscribe(ctx, name, cmttypes.EventQueryNewBlock, 256)
		if err != nil {
			return // the chain is stopping
		}
		for open := true; open; {
			select {
			case m := <-sub.Out():
				if block, ok := m.Data().(cmttypes.EventDataNewBlock); ok {
					c.block(block.ResultFinalizeBlock.TxResults)
				}
			case <-sub.Canceled(): // too slow for so many blocks: some go uncounted
				open = false
			case <-ctx.Done():
				open = false
			}
		}
		_ = bus.Unsubscribe(context.WithoutCancel(ctx), name, cmttypes.EventQueryNewBlock)
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// block counts the decisions among the results of a block's transactions.
func (c *counts) block(results []*abci.ExecTxResult) {
	for _, r := range results {
		for _, e := range r.GetEvents() {
			switch e.Type {
			case "secretvm.kms.v1.EventGranted":
				c.decisions.add("granted")
			case "secretvm.kms.v1.EventRefused":
				for _, a := range e.Attributes {
					if a.Key == "code" {
						c.decisions.add(strings.Trim(a.Value, `"`))
					}
				}
			}
		}
	}
}
