package node

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/secretvm/secretvm/kms/chain"
	"github.com/secretvm/secretvm/kms/chain/x/kms"
	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/vm"
)

// batch sends releases to the chain, as many as wait in one transaction: a block
// orders and signs transactions, not messages. While few come, each is sent at
// once; while many come, they gather for a moment, also behind the transaction
// that is under way.
//
// A release that the chain refuses is a message that succeeds, so that nobody in
// a transaction depends on the others. Where one fails all the same, its company
// is sent again, one by one.
type batch struct {
	relay *relay

	mu      sync.Mutex
	wake    chan struct{} // holds a token when there may be something to send
	waiting []*waiter
	flying  int
	sent    time.Time   // when the newest was
	last    int         // how many releases it had
	later   *time.Timer // wakes
}

// waiter is one release and who waits for its decision.
type waiter struct {
	msg    *types.MsgRelease
	id     vm.Hash // of the grant that it would be
	size   int     // of msg
	papers vm.Hash // of its collateral; zero: it has none that others could have
	since  time.Time
	alone  bool // it was in a transaction that failed
	answer chan decided
}

type decided struct {
	response types.MsgReleaseResponse
	err      error
}

// Bounds of a transaction, and of how many are under way: the next one is
// gathered meanwhile.
const (
	maxBatch      = 32
	maxBatchBytes = 900 << 10
	maxFlying     = 3
	maxWaiting    = 4096
)

// How long releases gather: what comes alone, not at all. A transaction costs
// every node as much as verifying two or three releases.
const (
	gatherTime = 500 * time.Millisecond // while one is under way, until another is sent beside it
	gatherMany = 100 * time.Millisecond // while there are many
	many       = 8                      // so many are worth a transaction of their own
	together   = 2                      // so many in one transaction say that more are coming
	busyTime   = 2 * time.Second        // for so long
)

func newBatch(r *relay) *batch {
	b := &batch{relay: r, wake: make(chan struct{}, 1)}
	b.later = time.AfterFunc(time.Hour, b.nudge)
	b.later.Stop()
	return b
}

// send waits for the chain's decision about a release.
func (b *batch) send(ctx context.Context, msg *types.MsgRelease) (types.MsgReleaseResponse, error) {
	w := &waiter{msg: msg, id: msg.Request().GrantID(b.relay.ledger.ChainID()), size: msg.Size(), answer: make(chan decided, 1), since: time.Now()}
	if msg.Collateral != nil {
		b, err := msg.Collateral.Marshal()
		if err != nil {
			return types.MsgReleaseResponse{}, err
		}
		w.papers = vm.HashOf(b)
	}
	if err := b.relay.flights.await(ctx, w.id); err != nil {
		return types.MsgReleaseResponse{}, err
	}
	begin := time.Now()
	b.mu.Lock()
	if len(b.waiting) >= maxWaiting {
		b.mu.Unlock()
		return types.MsgReleaseResponse{}, vm.Refuse(vm.CodeUnavailable, "the node is busy").Try("wait a second, or ask another node")
	}
	b.waiting = append(b.waiting, w)
	b.mu.Unlock()
	b.nudge()
	select {
	case d := <-w.answer:
		if now := time.Now(); d.err == nil {
			b.relay.ledger.lately.add(now.Sub(begin), now)
		}
		return d.response, d.err
	case <-ctx.Done():
		return types.MsgReleaseResponse{}, vm.Refuse(vm.CodeUnavailable, "who asked for the release went away before it was decided")
	}
}

func (b *batch) nudge() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// run sends what waits until ctx ends.
func (b *batch) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.wake:
		}
		for {
			next := b.next()
			if len(next) == 0 {
				break
			}
			b.fly(ctx, next)
		}
	}
}

// next takes what fits into a transaction, unless enough are under way.
func (b *batch) next() []*waiter {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.flying >= maxFlying {
		return nil
	}
	if late := b.gather(time.Now()); late > 0 {
		b.later.Reset(late)
		return nil
	}
	b.waiting = slices.DeleteFunc(b.waiting, b.elsewhere)
	n, bytes := 0, 0
	for _, w := range b.waiting {
		if n == maxBatch || n > 0 && (w.alone || b.waiting[0].alone || bytes+w.size > maxBatchBytes || w.bare()) {
			break
		}
		n, bytes = n+1, bytes+w.size
		if n > 1 && !w.papers.IsZero() && w.papers == b.waiting[n-2].papers {
			bytes -= w.msg.Collateral.Size()
		}
	}
	next := b.waiting[:n:n]
	b.waiting = b.waiting[n:]
	if n > 0 {
		b.flying++
		b.sent, b.last = time.Now(), n
	}
	return next
}

// gather is how much longer releases gather before the next transaction.
func (b *batch) gather(now time.Time) time.Duration {
	switch {
	case len(b.waiting) == 0:
		return 0
	case b.flying > 0 && len(b.waiting) < many:
		return b.sent.Add(gatherTime).Sub(now)
	case b.flying > 0:
		return b.sent.Add(gatherMany).Sub(now)
	case b.last >= together && len(b.waiting) < many && now.Sub(b.sent) < busyTime && !b.waiting[0].alone:
		return b.waiting[0].since.Add(gatherMany).Sub(now)
	}
	return 0
}

// bare reports whether a release has no collateral: behind another in one
// transaction it would have that one's.
func (w *waiter) bare() bool { return w.papers.IsZero() && w.msg.Amd == nil }

// elsewhere has a release wait for another node's transaction that has it too,
// if there is one: whoever asked two nodes, because one was slow, is decided once.
func (b *batch) elsewhere(w *waiter) bool {
	if w.alone || !b.relay.flights.under(w.id) {
		return false
	}
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), inclusionTimeout)
		defer cancel()
		if err := b.relay.flights.await(ctx, w.id); err != nil {
			w.answer <- decided{err: err}
			return
		}
		b.again([]*waiter{w})
		b.nudge()
	}()
	return true
}

// fly sends one transaction, and waits for its block behind the caller's back.
func (b *batch) fly(ctx context.Context, ws []*waiter) {
	var gas uint64 = txGas
	msgs := make([]sdk.Msg, len(ws))
	for i, w := range ws {
		msgs[i] = w.msg
		if i > 0 && !w.papers.IsZero() && w.papers == ws[i-1].papers {
			same := *w.msg
			same.Collateral = nil // that of the one before, as the chain reads it
			msgs[i] = &same
		}
		gas += releaseGas(w.size)
	}
	wait, err := b.relay.enqueueAgain(ctx, gas, msgs...)
	go func() {
		defer b.landed()
		var responses [][]byte
		if err == nil {
			result, waitErr := wait(ctx)
			if err = waitErr; err == nil {
				responses, err = chain.Responses(result.Data, len(ws))
			}
		}
		if err != nil && len(ws) > 1 && vm.CodeOf(err) != vm.CodeUnavailable {
			b.again(ws)
			return
		}
		for i, w := range ws {
			d := decided{err: err}
			if err == nil {
				d.err = d.response.Unmarshal(responses[i])
			}
			w.answer <- d
		}
	}()
}

// again puts releases back whose transaction failed because of one of them.
func (b *batch) again(ws []*waiter) {
	for _, w := range ws {
		w.alone = true
	}
	b.mu.Lock()
	b.waiting = append(ws, b.waiting...)
	b.mu.Unlock()
}

func (b *batch) landed() {
	b.mu.Lock()
	b.flying--
	b.mu.Unlock()
	b.nudge()
}

// txGas is what a transaction costs beside its messages.
const txGas = 1_000_000

// releaseGas is what a release of so many bytes costs at most: its verification,
// its bytes, which the transaction and the ledger charge for, and its records.
func releaseGas(size int) uint64 { return kms.ReleaseGas + 1_500_000 + 20*uint64(size) }

// enqueueAgain is enqueue, twice where a transaction before this one was dropped
// or the node was restarted.
func (r *relay) enqueueAgain(ctx context.Context, gas uint64, msgs ...sdk.Msg) (waiting, error) {
	wait, err := r.enqueue(ctx, gas, msgs...)
	if errors.Is(err, errSequence) {
		wait, err = r.enqueue(ctx, gas, msgs...)
	}
	return wait, err
}
