package kms

import (
	"context"
	"errors"

	"cosmossdk.io/collections"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
)

// maxPruned bounds how many old anchors one block deletes.
const maxPruned = 16

// BeginBlock records the block's hash, which releases may name, unless the last
// one was recorded less than the interval ago: recording changes the app hash,
// and an app hash that changes makes CometBFT produce the next block at once,
// so that a chain that recorded every block could never be idle.
func (k Keeper) BeginBlock(ctx sdk.Context) error {
	params, err := k.params.Get(ctx)
	if err != nil {
		return err
	}
	now := ctx.BlockTime().Unix()
	last, err := k.Newest(ctx)
	if err != nil {
		return err
	}
	if last.Height != 0 && now < last.Time+int64(params.AnchorIntervalSeconds) {
		return nil
	}
	anchor := types.Anchor{Height: ctx.BlockHeight(), Hash: ctx.HeaderHash(), Time: now}
	if err := k.anchors.Set(ctx, anchor.Height, anchor); err != nil {
		return err
	}
	if err := k.newest.Set(ctx, anchor); err != nil {
		return err
	}
	return k.prune(ctx, anchor.Height-int64(params.MaxBlockAge))
}

// prune forgets anchors below a height.
func (k Keeper) prune(ctx context.Context, below int64) error {
	var old []int64
	err := k.anchors.Walk(ctx, new(collections.Range[int64]).EndExclusive(below), func(height int64, _ types.Anchor) (bool, error) {
		old = append(old, height)
		return len(old) >= maxPruned, nil
	})
	if err != nil {
		return err
	}
	for _, height := range old {
		if err := k.anchors.Remove(ctx, height); err != nil {
			return err
		}
	}
	return nil
}

// Newest returns the newest anchor; its height is 0 before the first block.
func (k Keeper) Newest(ctx context.Context) (types.Anchor, error) {
	a, err := k.newest.Get(ctx)
	if errors.Is(err, collections.ErrNotFound) {
		return types.Anchor{}, nil
	}
	return a, err
}
