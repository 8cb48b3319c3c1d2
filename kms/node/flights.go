package node

import (
	"context"
	"sync"
	"time"

	cmttypes "github.com/cometbft/cometbft/types"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/secretvm/secretvm/kms/chain"
	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/vm"
)

// flights knows the releases that wait for a block, whichever node relayed them.
// A machine that has waited for a while offers its release to another node; that
// one need not send it a second time, which would cost every node as much again
// just when they are busy.
type flights struct {
	chainID string
	decided func(ctx context.Context, tx []byte) (data []byte, err error) // waits for a transaction's block

	mu sync.Mutex
	of map[vm.Hash]*flight // by grant
}

// flight is one release and, once landed, what was decided.
type flight struct {
	landed  chan struct{}
	granted bool
	refusal *vm.Refusal // of a release that was refused; nil for both: nothing was decided
}

func newFlights(l *ledger) *flights {
	return &flights{chainID: l.ChainID(), decided: l.included, of: make(map[vm.Hash]*flight)}
}

const (
	maxFlights    = 8192
	flightMemory  = 5 * time.Second // how long a decision is remembered: others ask that late
	awayTolerance = 3 * time.Second // how long to trust that a transaction lands
)

// note takes in what enters the mempool.
func (f *flights) note(tx []byte, msgs []sdk.Msg) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var ids []vm.Hash
	for _, m := range msgs {
		release, ok := m.(*types.MsgRelease)
		if !ok {
			return
		}
		ids = append(ids, release.Request().GrantID(f.chainID))
	}
	if len(f.of)+len(ids) > maxFlights {
		return
	}
	own := make([]*flight, len(ids))
	for i, id := range ids {
		if f.of[id] == nil { // who comes second is decided second
			own[i] = &flight{landed: make(chan struct{})}
			f.of[id] = own[i]
		}
	}
	go f.follow(tx, ids, own)
}

// follow waits for a transaction's block and remembers what it decided.
func (f *flights) follow(tx []byte, ids []vm.Hash, own []*flight) {
	ctx, cancel := context.WithTimeout(context.Background(), inclusionTimeout)
	defer cancel()
	var responses [][]byte
	data, err := f.decided(ctx, tx)
	if err == nil {
		responses, err = chain.Responses(data, len(ids))
	}
	for i, at := range own {
		if at == nil {
			continue
		}
		var answer types.MsgReleaseResponse
		if err == nil && answer.Unmarshal(responses[i]) == nil {
			at.granted = answer.Grant != nil
			if answer.Refusal != nil {
				at.refusal = answer.Refusal.Refusal()
			}
		}
		close(at.landed)
	}
	time.AfterFunc(flightMemory, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		for i, id := range ids {
			if own[i] != nil && f.of[id] == own[i] {
				delete(f.of, id)
			}
		}
	})
}

// under reports whether a release is under way, or was a moment ago.
func (f *flights) under(id vm.Hash) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.of[id] != nil
}

// await returns nil for a release that is to be sent. For one that is under way
// already it waits, and returns what the chain would answer to a second one.
func (f *flights) await(ctx context.Context, id vm.Hash) error {
	f.mu.Lock()
	at := f.of[id]
	f.mu.Unlock()
	if at == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, awayTolerance)
	defer cancel()
	select {
	case <-at.landed:
	case <-ctx.Done():
		return nil
	}
	switch {
	case at.granted:
		return vm.Refuse(vm.CodeReplayed, "this very release was granted before, as grant %s", id)
	case at.refusal != nil:
		return at.refusal
	}
	return nil
}

// included waits for the block of a transaction that is not this node's, and
// returns its result's data.
func (l *ledger) included(ctx context.Context, tx []byte) ([]byte, error) {
	subscriber := "flight-" + vm.HashOf(tx).String()
	query := cmttypes.EventQueryTxFor(tx)
	bus := l.comet.EventBus()
	sub, err := bus.Subscribe(ctx, subscriber, query)
	if err != nil {
		return nil, err
	}
	defer func() { _ = bus.Unsubscribe(context.WithoutCancel(ctx), subscriber, query) }()
	select {
	case m := <-sub.Out():
		included, ok := m.Data().(cmttypes.EventDataTx)
		if !ok || included.Result.Code != 0 {
			return nil, vm.Refuse(vm.CodeUnavailable, "the transaction failed")
		}
		return included.Result.Data, nil
	case <-sub.Canceled():
		return nil, sub.Err()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
