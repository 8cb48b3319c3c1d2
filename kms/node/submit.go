package node

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cometbft/cometbft/mempool"
	cmttypes "github.com/cometbft/cometbft/types"

	sdkerrors "github.com/cosmos/cosmos-sdk/types/errors"

	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/kms/wire"
	"github.com/secretvm/secretvm/vm"
)

// inclusionTimeout bounds how long a transaction may take into a block.
const inclusionTimeout = 15 * time.Second

// errSequence says that a transaction's sequence is not the account's next.
var errSequence = errors.New("wrong sequence")

// submit puts a signed transaction into the mempool and returns a function that
// waits for its block. The split lets a sender sign the next one meanwhile.
func (l *ledger) submit(ctx context.Context, tx []byte) (wait func(context.Context) (wire.TxResult, error), err error) {
	hash := fmt.Sprintf("%x", cmttypes.Tx(tx).Hash())
	query := cmttypes.EventQueryTxFor(tx)
	bus, subscriber := l.comet.EventBus(), "tx-"+hash
	sub, err := bus.Subscribe(ctx, subscriber, query)
	if err != nil {
		return nil, vm.Refuse(vm.CodeUnavailable, "transaction %s is on its way already", hash)
	}
	unsubscribe := func() { _ = bus.Unsubscribe(context.WithoutCancel(ctx), subscriber, query) }

	checked, err := l.local.BroadcastTxSync(ctx, tx)
	if errors.Is(err, mempool.ErrTxInCache) {
		unsubscribe()
		return nil, vm.Refuse(vm.CodeReplayed, "the chain has seen this very transaction %s", hash)
	}
	if err != nil {
		unsubscribe()
		return nil, fmt.Errorf("%w (%w)", vm.Refuse(vm.CodeUnavailable, "the chain does not take the transaction now"), err)
	}
	if checked.Code != 0 {
		unsubscribe()
		return nil, failure(checked.Codespace, checked.Code, checked.Log)
	}
	l.spread.send(tx)
	return func(ctx context.Context) (wire.TxResult, error) {
		defer unsubscribe()
		ctx, cancel := context.WithTimeout(ctx, inclusionTimeout)
		defer cancel()
		again := time.NewTicker(spreadAgain)
		defer again.Stop()
		for {
			select {
			case m := <-sub.Out():
				return landed(hash, m.Data())
			case <-again.C:
				l.spread.send(tx)
			case <-sub.Canceled():
				return wire.TxResult{}, vm.Refuse(vm.CodeUnavailable, "the node is stopping")
			case <-ctx.Done():
				return wire.TxResult{}, vm.Refuse(vm.CodeUnavailable, "transaction %s is in no block yet", hash)
			}
		}
	}, nil
}

// landed is the result of a transaction that is in a block.
func landed(hash string, event any) (wire.TxResult, error) {
	included, ok := event.(cmttypes.EventDataTx)
	if !ok {
		return wire.TxResult{}, errors.New("another event than the transaction's came")
	}
	if r := included.Result; r.Code != 0 {
		return wire.TxResult{}, failure(r.Codespace, r.Code, r.Log)
	}
	return wire.TxResult{Hash: hash, Height: included.Height, Data: included.Result.Data}, nil
}

// failure makes the refusal of a transaction that failed. The SDK puts its own
// words around the reason that x/kms gave.
func failure(codespace string, number uint32, text string) error {
	if codespace == sdkerrors.ErrWrongSequence.Codespace() && number == sdkerrors.ErrWrongSequence.ABCICode() {
		return fmt.Errorf("%w (%w)", vm.Refuse(vm.CodeUnavailable, "another transaction of this account was faster").Try("try again"), errSequence)
	}
	code, ours := types.CodeOf(codespace, number)
	if !ours {
		return vm.Refuse(vm.CodeInvalid, "%.500s", text)
	}
	text = strings.TrimSuffix(text, ": "+string(code))
	if _, reason, ok := strings.Cut(text, "message index: 0: "); ok {
		text = reason
	}
	return vm.Refuse(code, "%.500s", text)
}
