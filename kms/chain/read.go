package chain

import (
	"errors"
	"fmt"
	"sync"

	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"

	storetypes "github.com/cosmos/cosmos-sdk/store/v2/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	sdkerrors "github.com/cosmos/cosmos-sdk/types/errors"

	"github.com/secretvm/secretvm/vm"
)

// committed is one state after a block. Whoever reads it shares what others have
// read of it: the trees are opened once, and entries that every release needs
// are found once. A reader's own branch lies above, so that nobody can change
// what others see.
type committed struct {
	header cmtproto.Header
	next   chan struct{} // closed when there is a newer one

	open   sync.Once
	stores storetypes.CacheMultiStore
	err    error
}

// commit takes in that a block's state is committed.
func (app *App) commit(header cmtproto.Header) {
	if before := app.newest.Swap(&committed{header: header, next: make(chan struct{})}); before != nil {
		close(before.next)
	}
}

// Committed is the height of the newest committed state, 0 before the first block
// since the start.
func (app *App) Committed() int64 {
	if at := app.newest.Load(); at != nil {
		return at.header.Height
	}
	return 0
}

// Next is closed once there is a newer state than the newest one of now; nil,
// which never is, before the first block since the start.
func (app *App) Next() <-chan struct{} {
	if at := app.newest.Load(); at != nil {
		return at.next
	}
	return nil
}

// Read returns a context for reading the newest committed state.
func (app *App) Read() (sdk.Context, error) {
	at := app.newest.Load()
	if at == nil { // since the start there was no block
		ctx, err := app.CreateQueryContext(0, false)
		if errors.Is(err, sdkerrors.ErrInvalidHeight) {
			return ctx, vm.Refuse(vm.CodeUnavailable, "this node has started and seen no block yet").Try("wait a second, or ask another node")
		}
		if err != nil {
			return ctx, fmt.Errorf("open the newest state of the chain: %w", err)
		}
		return ctx, nil
	}
	// CreateQueryContext would hash the roots of all stores, twice, to find out
	// how high the chain is: more than reading takes.
	at.open.Do(func() { at.stores, at.err = app.CommitMultiStore().CacheMultiStoreWithVersion(at.header.Height) })
	if at.err != nil {
		return sdk.Context{}, fmt.Errorf("open the newest state of the chain: %w", at.err)
	}
	return sdk.NewContext(at.stores.CacheMultiStore(), at.header, true, app.Logger()).WithBlockHeight(at.header.Height), nil
}
