package chain

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	abci "github.com/cometbft/cometbft/abci/types"

	"github.com/cosmos/cosmos-sdk/baseapp"
	"github.com/cosmos/cosmos-sdk/runtime"
	"github.com/cosmos/cosmos-sdk/store/v2/rootmulti"
	storetypes "github.com/cosmos/cosmos-sdk/store/v2/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/types/module"
	upgradekeeper "github.com/cosmos/cosmos-sdk/x/upgrade/keeper"
	upgradetypes "github.com/cosmos/cosmos-sdk/x/upgrade/types"

	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/vm"
)

// Upgrade is a change of what nodes compute, which all of them make at the same
// height: the authority plans it by name (MsgSoftwareUpgrade), nodes without it
// stop there and say so, and go on when the program that has it is started. Such
// a program does not run before that height.
type Upgrade struct {
	Name   string
	Stores []string                      // that it adds
	Move   func(sdk.Context, *App) error // what there is to do beside the modules' migrations; nil: nothing
}

// Upgrades are those that this program makes, oldest first: each brings the chain
// from wherever it is to the versions of this program.
var Upgrades = []Upgrade{{Name: "v2"}}

// scheduled answers the messages about upgrades for the chain's authority, which
// is state, where the SDK's own server wants to know it at start.
type scheduled struct{ app *App }

var _ upgradetypes.MsgServer = scheduled{}

// SoftwareUpgrade plans an upgrade, in the place of one that is planned.
func (s scheduled) SoftwareUpgrade(ctx context.Context, m *upgradetypes.MsgSoftwareUpgrade) (*upgradetypes.MsgSoftwareUpgradeResponse, error) {
	if err := s.app.govern(ctx, m.Authority); err != nil {
		return nil, err
	}
	if s.app.upgrades.HasHandler(m.Plan.Name) { // who runs this is behind it already, and would stop for ever
		return nil, types.Fail(vm.Refuse(vm.CodeExists, "plan an upgrade: %q is what the chain's nodes run already", m.Plan.Name))
	}
	if err := s.app.upgrades.ScheduleUpgrade(ctx, m.Plan); err != nil {
		return nil, types.Fail(vm.Refuse(vm.CodeInvalid, "plan an upgrade: %.300v", err))
	}
	return &upgradetypes.MsgSoftwareUpgradeResponse{}, nil
}

// CancelUpgrade takes the plan away.
func (s scheduled) CancelUpgrade(ctx context.Context, m *upgradetypes.MsgCancelUpgrade) (*upgradetypes.MsgCancelUpgradeResponse, error) {
	if err := s.app.govern(ctx, m.Authority); err != nil {
		return nil, err
	}
	return &upgradetypes.MsgCancelUpgradeResponse{}, s.app.upgrades.ClearUpgradePlan(ctx)
}

// govern refuses whoever is not the chain's authority.
func (app *App) govern(ctx context.Context, sender string) error {
	params, err := app.Committee.Params(ctx)
	if err != nil {
		return err
	}
	if sender != params.Authority {
		return types.Fail(vm.Refuse(vm.CodePermission, "only the chain's authority does this").On("authority", sender, params.Authority))
	}
	return nil
}

// setUpgrades makes the program's upgrades known.
func (app *App) setUpgrades() {
	for _, u := range app.program.upgrades {
		app.upgrades.SetUpgradeHandler(u.Name, func(ctx context.Context, _ upgradetypes.Plan, _ module.VersionMap) (module.VersionMap, error) {
			block := sdk.UnwrapSDKContext(ctx)
			versions, err := app.migrate(block)
			if err != nil || u.Move == nil {
				return versions, err
			}
			return versions, u.Move(block, app)
		})
	}
	app.SetPreBlocker(func(ctx sdk.Context, _ *abci.RequestFinalizeBlock) (*sdk.ResponsePreBlock, error) {
		return app.preBlock(ctx)
	})
}

// preBlock makes an upgrade at its height, and no block by other rules than the
// chain's. An error stops this node, and every other that lacks the upgrade,
// before the block.
func (app *App) preBlock(ctx sdk.Context) (*sdk.ResponsePreBlock, error) {
	plan, err := app.upgrades.GetUpgradePlan(ctx)
	if errors.Is(err, upgradetypes.ErrNoUpgradePlanFound) {
		return &sdk.ResponsePreBlock{}, app.checkVersions(ctx)
	}
	if err != nil {
		return nil, err
	}
	due, known := plan.ShouldExecute(ctx.BlockHeight()), app.upgrades.HasHandler(plan.Name)
	switch {
	case due && !known:
		return nil, fmt.Errorf("the chain is upgraded to %q at height %d, and this kmsd does not know how: start the one that does (%s)", plan.Name, plan.Height, plan.Info)
	case due:
		// Not bounded by the block's gas: it is not a transaction.
		if err := app.upgrades.ApplyUpgrade(ctx.WithBlockGasMeter(storetypes.NewInfiniteGasMeter()), plan); err != nil {
			return nil, fmt.Errorf("upgrade to %q: %w", plan.Name, err)
		}
		return &sdk.ResponsePreBlock{ConsensusParamsChanged: true}, nil
	case known:
		return nil, fmt.Errorf("this kmsd is for after the upgrade to %q at height %d: until then start the one of before", plan.Name, plan.Height)
	}
	return &sdk.ResponsePreBlock{}, app.checkVersions(ctx)
}

// loader opens the stores. Stores that the last committed state does not have
// are added only for an upgrade that says so: a program for another state is
// refused before it touches anything.
func loader(stores []string, known []Upgrade) baseapp.StoreLoader {
	return func(ms storetypes.CommitMultiStore) error {
		root, ok := ms.(*rootmulti.Store)
		if !ok || ms.LastCommitID().Version == 0 {
			return ms.LoadLatestVersion()
		}
		info, err := root.GetCommitInfo(ms.LastCommitID().Version)
		if err != nil {
			return fmt.Errorf("read which stores there are: %w", err)
		}
		have := make([]string, len(info.StoreInfos))
		for i, s := range info.StoreInfos {
			have[i] = s.Name
		}
		missing := slices.DeleteFunc(slices.Clone(stores), func(s string) bool { return slices.Contains(have, s) })
		gone := slices.DeleteFunc(have, func(s string) bool { return slices.Contains(stores, s) })
		if len(missing)+len(gone) == 0 {
			return ms.LoadLatestVersion()
		}
		for _, u := range known {
			if len(gone) == 0 && slices.Equal(sorted(u.Stores), sorted(missing)) {
				return ms.LoadLatestVersionAndUpgrade(&storetypes.StoreUpgrades{Added: missing})
			}
		}
		return vm.Refuse(vm.CodeInvalid, "the chain's data is of another version of kmsd").
			On("stores", "without "+strings.Join(missing, ", ")+" and with "+strings.Join(gone, ", "), strings.Join(stores, ", ")).
			Try("start the version that made it, or a new chain in another --home")
	}
}

func sorted(list []string) []string {
	out := slices.Clone(list)
	slices.Sort(out)
	return out
}

// newUpgrades opens the store of plans. The keeper's own way to say what has to
// be done when a node stops is a file, which is not used: the error says it. Nor
// does it count protocol versions: a program has its own.
func newUpgrades(app *App, store *storetypes.KVStoreKey, authority string) *upgradekeeper.Keeper {
	return upgradekeeper.NewKeeper(map[int64]bool{}, runtime.NewKVStoreService(store), app.Codec, "", nil, authority)
}
