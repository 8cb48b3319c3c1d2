package kms

import (
	"context"
	"errors"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
)

// SetPolicy changes what a service demands. What is stricter is in force at
// once; what is looser is announced, and is in force when the delay of before
// is over. Before the first image there is nothing to protect, and all of it is
// in force at once. Another SetPolicy takes the place of one that waits.
func (s server) SetPolicy(ctx context.Context, m *types.MsgSetPolicy) (*types.MsgSetPolicyResponse, error) {
	block := sdk.UnwrapSDKContext(ctx)
	now := block.BlockTime().Unix()
	service, err := s.ownService(block, m.Owner, m.Service)
	if err != nil {
		return nil, err
	}
	delay, err := s.delay(block, service)
	if err != nil {
		return nil, err
	}
	next := m.Policy.Normal()
	strict := service.Policy.Stricter(next)
	loosened := !strict.Same(next)
	if loosened {
		if err := frozen(service, "its policy can become stricter only"); err != nil {
			return nil, err
		}
	}
	service.PendingPolicy = nil
	switch {
	case !loosened || delay == 0:
		service.Policy = next
	default:
		service.Policy = strict
		service.PendingPolicy = &types.PendingPolicy{Policy: next, ActiveAt: now + delay, Height: block.BlockHeight(), Time: now}
	}
	activeAt := now
	if service.PendingPolicy != nil {
		activeAt = service.PendingPolicy.ActiveAt
	}
	return &types.MsgSetPolicyResponse{Policy: service.Policy, Pending: service.PendingPolicy}, errors.Join(
		s.services.Set(ctx, service.Id, service),
		s.record(block, service.Id, types.Change{By: m.Owner, Kind: types.ChangePolicy, Detail: types.Describe(loosened), ActiveAt: activeAt}),
		block.EventManager().EmitTypedEvent(&types.EventPolicySet{Service: service.Id, Loosened: loosened, ActiveAt: activeAt}),
	)
}

// delay is after how many seconds something new for a service's machines takes
// effect. A service that never had an image has no machines.
func (k Keeper) delay(block sdk.Context, service types.Service) (int64, error) {
	counters, err := k.Counters(block, service.Id)
	if err != nil || counters.Images == 0 {
		return 0, err
	}
	return int64(service.Policy.UpgradeDelay), nil
}
