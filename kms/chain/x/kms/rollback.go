package kms

import (
	"context"
	"errors"
	"fmt"

	"cosmossdk.io/collections"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/vm"
)

// AcceptRollback is an owner's word that a machine's newer data is lost, and
// that it may go on with an older disk, or with a new one. It takes effect at
// once, because a machine stands still meanwhile; it only ever lowers the
// generation, ends what the machine may still say under its last grant, and
// stays on the ledger.
func (s server) AcceptRollback(ctx context.Context, m *types.MsgAcceptRollback) (*types.MsgAcceptRollbackResponse, error) {
	block := sdk.UnwrapSDKContext(ctx)
	service, err := s.ownService(block, m.Owner, m.Service)
	if err != nil {
		return nil, err
	}
	instance, err := s.Instance(ctx, service.Id, m.VmUid)
	if err != nil {
		return nil, err
	}
	from := instance.Generation
	if m.Generation >= from {
		return nil, types.Fail(vm.Refuse(vm.CodeInvalid, "accept rollback: the disk of machine %s is not known to be newer", m.VmUid).
			On("generation", fmt.Sprint(m.Generation), fmt.Sprintf("below %d", from)))
	}
	instance.Generation, instance.Grant = m.Generation, nil
	instance.Rollback = &types.Rollback{From: from, To: m.Generation, Height: block.BlockHeight(), Time: block.BlockTime().Unix()}
	detail := fmt.Sprintf("machine %s from generation %d to %d", m.VmUid, from, m.Generation)
	return &types.MsgAcceptRollbackResponse{From: from}, errors.Join(
		s.instances.Set(ctx, collections.Join(service.Id, m.VmUid), instance),
		s.record(block, service.Id, types.Change{By: m.Owner, Kind: types.ChangeRollback, Detail: detail}),
		block.EventManager().EmitTypedEvent(&types.EventRollbackAccepted{Service: service.Id, VmUid: m.VmUid, From: from, To: m.Generation}),
	)
}
