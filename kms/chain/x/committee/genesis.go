package committee

import (
	"context"

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
	for _, group := range g.Groups {
		if err := k.groups.Set(ctx, group.Epoch, group); err != nil {
			return nil, err
		}
	}
	return k.updateValidators(ctx)
}
