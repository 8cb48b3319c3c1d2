package chain_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	dbm "github.com/cosmos/cosmos-db"

	sdk "github.com/cosmos/cosmos-sdk/types"
	upgradetypes "github.com/cosmos/cosmos-sdk/x/upgrade/types"

	"github.com/secretvm/secretvm/kms/chain"
	"github.com/secretvm/secretvm/vm"
)

// next makes one block that may fail.
func (w *world) next() error {
	w.t.Helper()
	hash := vm.HashOf([]byte{byte(w.height)})
	_, err := w.app.FinalizeBlock(&abci.RequestFinalizeBlock{Height: w.height + 1, Time: w.now.Add(time.Second), Hash: hash[:]})
	if err != nil {
		return err
	}
	w.height, w.now = w.height+1, w.now.Add(time.Second)
	_, err = w.app.Commit()
	return err
}

// reopen starts a program that knows some upgrades on the chain's data.
func (w *world) reopen(known ...chain.Upgrade) error {
	app, err := chain.NewWith(w.db, chainID, known...)
	w.app = app
	return err
}

// TestUpgradeAtItsHeight: the authority plans it, programs without it stop before
// that block, the one with it moves the state there and goes on.
func TestUpgradeAtItsHeight(t *testing.T) {
	w := softWorld(t)
	cfg := w.service()
	plan := func(from string, height int64) *upgradetypes.MsgSoftwareUpgrade {
		return &upgradetypes.MsgSoftwareUpgrade{Authority: from, Plan: upgradetypes.Plan{Name: "second", Height: height, Info: "kmsd 2"}}
	}
	w.fails(w.other, plan(w.other.Address, 100), vm.CodePermission)
	w.fails(w.other, &upgradetypes.MsgCancelUpgrade{Authority: w.other.Address}, vm.CodePermission)
	w.fails(w.owner, plan(w.owner.Address, 1), vm.CodeInvalid)
	at := w.height + 4
	w.do(w.owner, plan(w.owner.Address, at), &upgradetypes.MsgSoftwareUpgradeResponse{})
	moved := 0
	second := chain.Upgrade{Name: "second", Move: func(ctx sdk.Context, app *chain.App) error {
		moved++
		_, err := app.KMS.Service(ctx, cfg.Service)
		return err
	}}

	must(t, w.reopen(second))
	if err := w.next(); err == nil || !strings.Contains(err.Error(), "start the one of before") {
		t.Fatalf("the new program ran before the height: %v", err)
	}
	must(t, w.reopen())
	for w.height < at-1 {
		must(t, w.next())
	}
	if err := w.next(); err == nil || !strings.Contains(err.Error(), "kmsd 2") {
		t.Fatalf("the old program went on: %v", err)
	}
	must(t, w.reopen(second))
	must(t, w.next())
	must(t, w.next())
	if moved != 1 || w.height != at+1 {
		t.Errorf("moved %d times, height %d", moved, w.height)
	}
	must(t, w.reopen(second)) // later starts are ordinary
	must(t, w.next())
	w.granted(w.release(boot(t, root, cfg)))
}

// TestDataOfAnotherVersionIsRefused: stores that are not there are added for an
// upgrade alone.
func TestDataOfAnotherVersionIsRefused(t *testing.T) {
	db := dbm.NewMemDB()
	must(t, chain.Stores(db, "acc", "consensus", "committee", "kms", "upgrade"))
	_, err := chain.NewWith(db, chainID)
	var refusal *vm.Refusal
	if !errors.As(err, &refusal) || refusal.Code != vm.CodeInvalid || !strings.Contains(refusal.Found, "without council") {
		t.Errorf("error is %v", err)
	}
	if _, err := chain.NewWith(db, chainID, chain.Upgrade{Name: "councils", Stores: []string{"council"}}); err != nil {
		t.Errorf("an upgrade that adds the store: %v", err)
	}
	if _, err := chain.NewWith(db, chainID, chain.Upgrade{Name: "other", Stores: []string{"other"}}); err == nil {
		t.Error("an upgrade that adds another store was taken for it")
	}
}
