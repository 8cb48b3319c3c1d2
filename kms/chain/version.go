package chain

import (
	"context"
	"fmt"
	"maps"
	"slices"

	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/types/module"

	"github.com/secretvm/secretvm/kms/chain/x/committee"
	committeetypes "github.com/secretvm/secretvm/kms/chain/x/committee/types"
	"github.com/secretvm/secretvm/kms/chain/x/council"
	counciltypes "github.com/secretvm/secretvm/kms/chain/x/council/types"
	"github.com/secretvm/secretvm/kms/chain/x/kms"
	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/vm"
)

// protocolVersion is raised with every change that makes nodes compute another
// state from the same blocks and is no module's own. The Go toolchain and GODEBUG
// count: package crypto/x509 decides what a certificate is.
//
//	1  the first
//	2  in a transaction, a release without collateral has that of the one before it
const protocolVersion = 2

// rules stands for the protocol version among the modules' versions.
const rules = "rules"

// program is what differs between one kmsd and another.
type program struct {
	upgrades []Upgrade
	versions module.VersionMap
}

// this is the program that this is.
func this() program {
	return program{Upgrades, module.VersionMap{
		rules:                     protocolVersion,
		committeetypes.ModuleName: committee.ConsensusVersion,
		counciltypes.ModuleName:   council.ConsensusVersion,
		types.ModuleName:          kms.ConsensusVersion,
	}}
}

// versions are those by which the chain computes, as its state has it. Chains of
// before they were written down are of version 1 in everything.
func (app *App) versions(ctx context.Context) (module.VersionMap, error) {
	recorded, err := app.upgrades.GetModuleVersionMap(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the versions of the chain: %w", err)
	}
	out := make(module.VersionMap, len(app.program.versions))
	for name := range app.program.versions {
		out[name] = max(1, recorded[name])
	}
	return out, nil
}

// checkVersions refuses a chain that computes by other rules than this program:
// it would go another way than the other nodes.
func (app *App) checkVersions(ctx context.Context) error {
	chain, err := app.versions(ctx)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(chain)) {
		is, here := chain[name], app.program.versions[name]
		switch {
		case is < here:
			return vm.Refuse(vm.CodeInvalid, "the chain has not made the upgrade to version %d of its %s, for which this kmsd is", here, name).
				On(name, fmt.Sprintf("version %d", is), fmt.Sprintf("version %d", here)).
				Try("start the kmsd of before; the chain's authority plans the upgrade: kmsd tx upgrade plan")
		case is > here:
			return vm.Refuse(vm.CodeInvalid, "the chain has been upgraded to version %d of its %s, which this kmsd does not know", is, name).
				On(name, fmt.Sprintf("version %d", is), fmt.Sprintf("version %d", here)).
				Try("start a newer kmsd")
		}
	}
	return nil
}

// migrate brings what each module keeps from the version that the chain has to
// that of this program, and says which they are now.
func (app *App) migrate(ctx sdk.Context) (module.VersionMap, error) {
	chain, err := app.versions(ctx)
	if err != nil {
		return nil, err
	}
	if chain[committeetypes.ModuleName] < committee.ConsensusVersion {
		if err := app.Committee.Migrate(ctx, chain[committeetypes.ModuleName]); err != nil {
			return nil, fmt.Errorf("migrate the committee: %w", err)
		}
	}
	return app.program.versions, nil
}
