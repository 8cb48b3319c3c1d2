package kms

import (
	"context"
	"errors"

	"cosmossdk.io/collections"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/vm"
)

// Seal sets what a service's machines get with their grants, encrypted by the
// owner to a key that only they can have. It waits for the upgrade delay like an
// image, for an environment can change what a machine does; taking it away does
// not wait. The credentials of a frozen service can still be renewed: they fetch
// images that are pinned by digest or by a frozen config.
func (s server) Seal(ctx context.Context, m *types.MsgSeal) (*types.MsgSealResponse, error) {
	block := sdk.UnwrapSDKContext(ctx)
	now := block.BlockTime().Unix()
	service, err := s.ownService(block, m.Owner, m.Service)
	if err != nil {
		return nil, err
	}
	if m.Name == types.SealedEnv {
		if err := frozen(service, "its environment cannot change"); err != nil {
			return nil, err
		}
	}
	if _, err := s.committee.Group(ctx, m.Epoch); err != nil {
		return nil, err
	}
	slot, err := s.slot(ctx, service.Id, m.Name)
	if err != nil {
		return nil, err
	}
	current, _ := slot.At(now)
	if len(m.Ciphertext) == 0 {
		return s.unseal(block, m, current)
	}
	delay, err := s.delay(block, service)
	if err != nil {
		return nil, err
	}
	next := &types.Sealed{
		Name: m.Name, Epoch: m.Epoch, Ciphertext: m.Ciphertext, Digest: types.SealedDigest(m.Epoch, m.Ciphertext),
		Height: block.BlockHeight(), Time: now, ActiveAt: now + delay,
	}
	slot = types.SealedSlot{Current: current, Pending: next}
	if delay == 0 {
		slot = types.SealedSlot{Current: next}
	}
	return &types.MsgSealResponse{ActiveAt: next.ActiveAt}, errors.Join(
		s.sealed.Set(ctx, collections.Join(service.Id, m.Name), slot),
		s.record(block, service.Id, types.Change{By: m.Owner, Kind: types.ChangeSeal, Detail: m.Name, ActiveAt: next.ActiveAt}),
		block.EventManager().EmitTypedEvent(&types.EventSealed{Service: service.Id, Name: m.Name, Epoch: m.Epoch, Digest: next.Digest, ActiveAt: next.ActiveAt}),
	)
}

// unseal takes away what there is, and what was announced.
func (s server) unseal(block sdk.Context, m *types.MsgSeal, current *types.Sealed) (*types.MsgSealResponse, error) {
	slot, err := s.slot(block, m.Service, m.Name)
	if err != nil {
		return nil, err
	}
	if current == nil && slot.Pending == nil {
		return nil, types.Fail(vm.Refuse(vm.CodeInvalid, "service %s has no %s to remove", m.Service, m.Name))
	}
	now := block.BlockTime().Unix()
	return &types.MsgSealResponse{ActiveAt: now}, errors.Join(
		s.sealed.Remove(block, collections.Join(m.Service, m.Name)),
		s.record(block, m.Service, types.Change{By: m.Owner, Kind: types.ChangeSeal, Detail: m.Name + ", removed", ActiveAt: now}),
		block.EventManager().EmitTypedEvent(&types.EventSealed{Service: m.Service, Name: m.Name, Epoch: m.Epoch, ActiveAt: now}),
	)
}

func (k Keeper) slot(ctx context.Context, service, name string) (types.SealedSlot, error) {
	return orZero(k.sealed.Get(ctx, collections.Join(service, name)))
}

// Sealed returns what a service's machines get under a name at a time (Unix
// seconds of block time), nil when there is nothing, and what is announced.
func (k Keeper) Sealed(ctx context.Context, service, name string, now int64) (current, pending *types.Sealed, err error) {
	slot, err := k.slot(ctx, service, name)
	current, pending = slot.At(now)
	return current, pending, err
}

// Granted returns what was sealed for a grant, nil where there was nothing. What
// its owner replaced or took away since is not returned: the error is a refusal,
// for a machine must not run with less than its grant says.
func (k Keeper) Granted(ctx context.Context, g types.Grant) (env, registry *types.Sealed, err error) {
	for _, s := range []struct {
		name   string
		digest []byte
		into   **types.Sealed
	}{{types.SealedEnv, g.Env, &env}, {types.SealedRegistry, g.Registry, &registry}} {
		if len(s.digest) == 0 {
			continue
		}
		slot, err := k.slot(ctx, g.Service, s.name)
		if err != nil {
			return nil, nil, err
		}
		for _, found := range []*types.Sealed{slot.Current, slot.Pending} {
			if found != nil && string(found.Digest) == string(s.digest) {
				*s.into = found
			}
		}
		if *s.into == nil {
			return nil, nil, types.Fail(vm.Refuse(vm.CodeStale, "the owner has changed the service's %s since the grant", s.name))
		}
	}
	return env, registry, nil
}
