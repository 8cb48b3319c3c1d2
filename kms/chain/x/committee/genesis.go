package committee

import (
	"context"
	"errors"

	"cosmossdk.io/collections"
	abci "github.com/cometbft/cometbft/abci/types"

	"github.com/secretvm/secretvm/kms/chain/x/committee/types"
)

// InitGenesis writes the state of height 0 and returns the first validators.
func (k Keeper) InitGenesis(ctx context.Context, g types.GenesisState) ([]abci.ValidatorUpdate, error) {
	if err := g.Validate(); err != nil {
		return nil, err
	}
	if err := k.params.Set(ctx, g.Params); err != nil {
		return nil, err
	}
	for _, n := range g.Nodes {
		if err := k.setNode(ctx, n); err != nil {
			return nil, err
		}
	}
	for _, e := range g.Epochs {
		if err := k.epochs.Set(ctx, e.Epoch, e); err != nil {
			return nil, err
		}
	}
	if err := k.importBackups(ctx, g); err != nil {
		return nil, err
	}
	last := g.LastRound
	for _, group := range g.Groups {
		if err := k.groups.Set(ctx, group.Epoch, group); err != nil {
			return nil, err
		}
		last = max(last, group.Round)
	}
	if last > 0 { // of an export: rounds go on with the next number
		if err := k.lastRound.Set(ctx, last); err != nil {
			return nil, err
		}
	}
	return k.updateValidators(ctx)
}

// ExportGenesis reads who shares what. A round that is under way is not part of
// it: the chain that starts from it begins another.
func (k Keeper) ExportGenesis(ctx context.Context) (g types.GenesisState, err error) {
	if g.Params, err = k.params.Get(ctx); err != nil {
		return g, err
	}
	if g.Nodes, err = k.Nodes(ctx); err != nil {
		return g, err
	}
	err = errors.Join(
		k.epochs.Walk(ctx, nil, func(_ uint64, e types.Epoch) (bool, error) {
			g.Epochs = append(g.Epochs, e)
			return false, nil
		}),
		k.groups.Walk(ctx, nil, func(_ uint64, group types.Group) (bool, error) {
			g.Groups = append(g.Groups, group)
			return false, nil
		}),
		k.exportBackups(ctx, &g),
	)
	if err != nil {
		return g, err
	}
	if g.LastRound, err = k.lastRound.Get(ctx); errors.Is(err, collections.ErrNotFound) {
		err = nil
	}
	return g, err
}
