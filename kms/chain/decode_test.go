package chain_test

import (
	"bytes"
	"strings"
	"testing"

	"cosmossdk.io/log/v2"
	abci "github.com/cometbft/cometbft/abci/types"
	dbm "github.com/cosmos/cosmos-db"

	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/secretvm/secretvm/kms/chain"
	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/kms/wire"
	"github.com/secretvm/secretvm/vm"
)

// TestWhatWaitsIsDecidedTheSame: transactions that a node has looked at before
// their block, again and again, compute the same state there as on a node that
// sees them for the first time, and waiting ones are told of once.
func TestWhatWaitsIsDecidedTheSame(t *testing.T) {
	w := softWorld(t)
	start := w.now
	cfg := w.service()
	changed := cfg
	changed.ComposeHash = vm.HashOf([]byte("evil"))
	w.granted(w.release(boot(t, root, cfg)))
	w.refused(w.release(boot(t, root, changed)), vm.CodeCompose)
	want, blocks := w.app.LastCommitID().Hash, len(w.blocks)

	app, err := chain.New(log.NewNopLogger(), dbm.NewMemDB(), chainID)
	must(t, err)
	told := 0
	app.OnWaiting(func(_ []byte, msgs []sdk.Msg) { told += len(msgs) })
	initChain(t, app, w.genesis, start)
	checked := 0
	for _, block := range w.blocks {
		for _, kind := range []abci.CheckTxType{abci.CheckTxType_New, abci.CheckTxType_Recheck} {
			for _, tx := range block.Txs {
				r, err := app.CheckTx(&abci.RequestCheckTx{Tx: tx, Type: kind})
				must(t, err)
				if r.Code == 0 && kind == abci.CheckTxType_New {
					checked++
				}
			}
		}
		_, err := app.FinalizeBlock(block)
		must(t, err)
		_, err = app.Commit()
		must(t, err)
	}
	if got := app.LastCommitID().Hash; !bytes.Equal(got, want) {
		t.Errorf("after %d blocks the app hash is %x, want %x", blocks, got, want)
	}
	if told != checked || told == 0 {
		t.Errorf("told of %d transactions, want %d", told, checked)
	}
	read, err := app.Read()
	must(t, err)
	if read.BlockHeight() != app.LastBlockHeight() || read.ChainID() != chainID || !read.BlockTime().Equal(w.now) {
		t.Errorf("what is read is of block %d of %s at %s, want %d of %s at %s", read.BlockHeight(), read.ChainID(), read.BlockTime(), app.LastBlockHeight(), chainID, w.now)
	}
}

// TestCollateralIsSaidOnce: a release without collateral has that of the one
// before it in its transaction, and only there.
func TestCollateralIsSaidOnce(t *testing.T) {
	w := softWorld(t)
	cfg := w.service()
	other := cfg
	other.InstanceID = strings.Repeat("5", 32)
	first, second := w.release(boot(t, root, cfg)), w.release(boot(t, root, other))
	second.Collateral = nil
	ctx, err := w.app.Read()
	must(t, err)
	address, err := w.app.Addresses.StringToBytes(w.relay.Address)
	must(t, err)
	account := w.app.Accounts.GetAccount(ctx, address)
	at := wire.Account{ChainID: chainID, Address: w.relay.Address, Number: account.GetAccountNumber(), Sequence: account.GetSequence()}
	tx, err := w.relay.Sign(t.Context(), w.app.Encoding, at, 2*gas, first, second)
	must(t, err)
	results := w.block(tx)
	responses, err := chain.Responses(results[0].Data, 2)
	must(t, err)
	for i, b := range responses {
		var answer types.MsgReleaseResponse
		must(t, answer.Unmarshal(b))
		if answer.Grant == nil {
			t.Errorf("release %d: %v", i, answer.Refusal)
		}
	}
	alone := w.release(boot(t, root, other))
	alone.Collateral = nil
	if grant, refusal, code := w.decide(alone); grant != nil || refusal == nil && code == "" {
		t.Errorf("a release without collateral behind none was granted: %v", grant)
	}
}
