package kms

import (
	"context"

	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
)

// InitGenesis writes the state of height 0.
func (k Keeper) InitGenesis(ctx context.Context, g types.GenesisState) error {
	if err := g.Validate(); err != nil {
		return err
	}
	return k.params.Set(ctx, g.Params)
}

// NewMsgServer returns the module's message server.
func NewMsgServer(k Keeper) types.MsgServer { return server{k} }
