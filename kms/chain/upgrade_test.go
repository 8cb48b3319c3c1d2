package chain_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"cosmossdk.io/log/v2"
	abci "github.com/cometbft/cometbft/abci/types"
	dbm "github.com/cosmos/cosmos-db"

	sdk "github.com/cosmos/cosmos-sdk/types"
	upgradetypes "github.com/cosmos/cosmos-sdk/x/upgrade/types"

	"github.com/secretvm/secretvm/kms/chain"
	committee "github.com/secretvm/secretvm/kms/chain/x/committee/types"
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
	again := plan(w.owner.Address, 100)
	again.Plan.Name = "v2"
	w.fails(w.owner, again, vm.CodeExists)
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

// TestUpgradeOfAFormerChain: a chain whose state has neither versions nor a
// recovery committee goes on with the program of then, not with this one, until
// its authority has planned the upgrade. From that height on it is the other way
// round, and recovery is governed by what is in the state.
func TestUpgradeOfAFormerChain(t *testing.T) {
	w := softWorld(t)
	cfg := w.service()
	must(t, chain.Former(w.db))
	w.height++
	first := func() (err error) {
		w.app, err = chain.NewFirst(w.db, chainID)
		return err
	}
	this := func() (err error) {
		w.app, err = chain.New(log.NewNopLogger(), w.db, chainID)
		return err
	}

	must(t, this())
	if err := w.next(); vm.CodeOf(err) != vm.CodeInvalid || !strings.Contains(err.Error(), "upgrade to version 2 of its committee") {
		t.Fatalf("without a plan this program said: %v", err)
	}
	must(t, first())
	must(t, w.next())
	at := w.height + 3
	w.do(w.owner, &upgradetypes.MsgSoftwareUpgrade{Authority: w.owner.Address, Plan: upgradetypes.Plan{Name: "v2", Height: at, Info: "kmsd 0.2"}}, &upgradetypes.MsgSoftwareUpgradeResponse{})
	must(t, this())
	if err := w.next(); err == nil || !strings.Contains(err.Error(), "start the one of before") {
		t.Fatalf("this program ran before the height: %v", err)
	}
	must(t, first())
	for w.height < at-1 {
		must(t, w.next())
	}
	if err := w.next(); err == nil || !strings.Contains(err.Error(), `upgraded to "v2"`) || !strings.Contains(err.Error(), "kmsd 0.2") {
		t.Fatalf("the program of before went on: %v", err)
	}
	must(t, this())
	must(t, w.next())
	for range 3 {
		must(t, w.next())
	}
	must(t, first()) // there is no plan any more to stop it
	if err := w.next(); vm.CodeOf(err) != vm.CodeInvalid || !strings.Contains(err.Error(), "start a newer kmsd") && !strings.Contains(err.Error(), "does not know") {
		t.Fatalf("the program of before went on after the upgrade: %v", err)
	}
	must(t, this())
	must(t, w.next()) // a program can export what it has seen a block of

	exported, err := w.app.Export(0)
	must(t, err)
	if r := exported.Committee.Recovery; r == nil || r.Delay != committee.DefaultRecoveryDelay || r.Current != nil {
		t.Errorf("recovery is governed by %+v", r)
	}
	w.granted(w.release(boot(t, root, cfg)))
	named, _ := keepers(t, 1, 1)
	answer := &committee.MsgSetRecoveryResponse{}
	w.do(w.owner, &committee.MsgSetRecovery{Authority: w.owner.Address, Threshold: named.Threshold, Recipients: named.Recipients}, answer)
	if announced := answer.At - w.now.Unix(); announced < committee.DefaultRecoveryDelay-5 || announced > committee.DefaultRecoveryDelay {
		t.Errorf("another recovery committee is announced for %d s", announced)
	}
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
