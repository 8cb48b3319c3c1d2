package chain_test

import (
	"bytes"
	"testing"

	"cosmossdk.io/log/v2"
	dbm "github.com/cosmos/cosmos-db"

	"github.com/secretvm/secretvm/kms/chain"
	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/vm"
)

// TestDeterminism replays a history of grants and refusals on other instances:
// one that runs through, one that is reopened from its database before every
// block. All compute the same state and the same results.
func TestDeterminism(t *testing.T) {
	w := softWorld(t)
	start := w.now
	cfg := w.service()
	changed := cfg
	changed.ComposeHash = vm.HashOf([]byte("evil"))
	msg := w.release(boot(t, root, cfg))
	w.granted(msg)
	w.refused(msg, vm.CodeReplayed)
	w.refused(w.release(boot(t, root, changed)), vm.CodeCompose)
	w.block([]byte("no transaction"), w.sign(w.owner, &types.MsgCreateService{Owner: w.owner.Address, Name: "last"}))
	for range 3 {
		w.block()
	}
	want := w.app.LastCommitID().Hash

	for _, reopen := range []bool{false, true} {
		db := dbm.NewMemDB()
		app, err := chain.New(log.NewNopLogger(), db, chainID)
		must(t, err)
		initChain(t, app, w.genesis, start)
		for i, block := range w.blocks {
			if reopen && i > 0 {
				app, err = chain.New(log.NewNopLogger(), db, chainID)
				must(t, err)
			}
			if _, err := app.FinalizeBlock(block); err != nil {
				t.Fatal(err)
			}
			if _, err := app.Commit(); err != nil {
				t.Fatal(err)
			}
		}
		if got := app.LastCommitID().Hash; !bytes.Equal(got, want) {
			t.Errorf("reopened %t: app hash is %x, want %x", reopen, got, want)
		}
	}
}

// TestIdleChainIsIdle: blocks without transactions leave the app hash as it is,
// but for the anchor every few seconds, or CometBFT would never rest.
func TestIdleChainIsIdle(t *testing.T) {
	w := newWorld(t, types.TrustIntel)
	changes, last := 0, w.app.LastCommitID().Hash
	for range 50 { // one second each
		w.block()
		if hash := w.app.LastCommitID().Hash; !bytes.Equal(hash, last) {
			changes, last = changes+1, hash
		}
	}
	if changes < 8 || changes > 11 {
		t.Errorf("%d changes of the app hash in 50 s, want one every 5 s", changes)
	}
}
