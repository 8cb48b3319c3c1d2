package kms

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"

	"cosmossdk.io/collections"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/vm"
)

// Advance raises the generation of a machine's disk by one, for the machine
// that was granted last and can show it by its session key. Saying the current
// generation again changes nothing and is no error: an answer may get lost.
func (s server) Advance(ctx context.Context, m *types.MsgAdvance) (*types.MsgAdvanceResponse, error) {
	block := sdk.UnwrapSDKContext(ctx)
	grant, instance, err := s.checkAdvance(block, m)
	if err != nil {
		return nil, err
	}
	if m.Generation == instance.Generation+1 {
		instance.Generation, instance.AdvancedAt = m.Generation, block.BlockTime().Unix()
		err := errors.Join(
			s.instances.Set(block, collections.Join(grant.Service, grant.VmUid), instance),
			block.EventManager().EmitTypedEvent(&types.EventAdvanced{Service: grant.Service, VmUid: grant.VmUid, Generation: m.Generation}),
		)
		if err != nil {
			return nil, err
		}
	}
	return &types.MsgAdvanceResponse{Generation: instance.Generation}, nil
}

// checkAdvance finds the machine that speaks, and refuses what it may not say.
func (k Keeper) checkAdvance(block sdk.Context, m *types.MsgAdvance) (grant types.Grant, instance types.Instance, err error) {
	if _, ok, err := k.committee.Relay(block, m.Relay); err != nil {
		return grant, instance, err
	} else if !ok {
		return grant, instance, types.Fail(vm.Refuse(vm.CodePermission, "only nodes relay for machines").On("relay", m.Relay, "a node's account"))
	}
	grant, err = k.grants.Get(block, m.Grant)
	if errors.Is(err, collections.ErrNotFound) {
		return grant, instance, types.Fail(vm.Refuse(vm.CodeInvalid, "advance: there is no grant %x", m.Grant))
	}
	if err != nil {
		return grant, instance, err
	}
	message := keys.AdvanceMessage(block.ChainID(), [32]byte(m.Grant), m.Generation)
	if !ed25519.Verify(grant.SessionKey, message, m.Signature) {
		return grant, instance, types.Fail(vm.Refuse(vm.CodeSignature, "advance: not signed by the session key of grant %x", m.Grant))
	}
	instance, err = k.Instance(block, grant.Service, grant.VmUid)
	if err != nil {
		return grant, instance, err
	}
	if string(instance.Grant) != string(grant.Id) {
		return grant, instance, types.Fail(vm.Refuse(vm.CodeStale, "advance: the machine was granted again since").
			On("grant", fmt.Sprintf("%x", grant.Id), fmt.Sprintf("%x", instance.Grant)))
	}
	if m.Generation != instance.Generation && m.Generation != instance.Generation+1 {
		return grant, instance, types.Fail(vm.Refuse(vm.CodeInvalid, "advance: generations rise by one").
			On("generation", fmt.Sprint(m.Generation), fmt.Sprint(instance.Generation+1)))
	}
	return grant, instance, nil
}
