package council

import (
	"context"
	"errors"

	"cosmossdk.io/collections"

	"github.com/secretvm/secretvm/kms/chain/x/council/types"
)

// InitGenesis writes the state of height 0.
func (k Keeper) InitGenesis(ctx context.Context, g types.GenesisState) error {
	if err := g.Validate(); err != nil {
		return err
	}
	if err := g.UnpackInterfaces(k.cdc); err != nil {
		return err
	}
	if err := errors.Join(k.nextCouncil.Set(ctx, g.NextCouncil), k.nextProposal.Set(ctx, g.NextProposal)); err != nil {
		return err
	}
	for _, c := range g.Councils {
		if err := k.councils.Set(ctx, c.Address, c); err != nil {
			return err
		}
		for _, m := range c.Members {
			if err := k.members.Set(ctx, collections.Join(m, c.Address)); err != nil {
				return err
			}
		}
	}
	for _, p := range g.Proposals {
		if p.Status == types.STATUS_OPEN {
			if err := types.CheckPacked(p.Messages); err != nil {
				return err
			}
		}
		if err := k.proposals.Set(ctx, p.Id, p); err != nil {
			return err
		}
		if err := k.index(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// ExportGenesis reads all of the module's state.
func (k Keeper) ExportGenesis(ctx context.Context) (types.GenesisState, error) {
	var g types.GenesisState
	var err error
	if g.NextCouncil, err = k.nextCouncil.Peek(ctx); err != nil {
		return g, err
	}
	if g.NextProposal, err = k.nextProposal.Peek(ctx); err != nil {
		return g, err
	}
	err = k.councils.Walk(ctx, nil, func(_ string, c types.Council) (bool, error) {
		g.Councils = append(g.Councils, c)
		return false, nil
	})
	if err != nil {
		return g, err
	}
	err = k.proposals.Walk(ctx, nil, func(_ uint64, p types.Proposal) (bool, error) {
		g.Proposals = append(g.Proposals, p)
		return false, nil
	})
	return g, err
}
