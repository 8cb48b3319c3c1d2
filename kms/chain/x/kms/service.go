package kms

import (
	"context"
	"errors"

	"cosmossdk.io/collections"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/vm"
)

// server answers the module's messages.
type server struct{ Keeper }

var _ types.MsgServer = server{}

// NewMsgServer returns the module's message server.
func NewMsgServer(k Keeper) types.MsgServer { return server{k} }

// CreateService registers <owner>/<name>. Nobody can take a name under another
// address, and a second registration is refused, not merged. The id stays when
// the service gets another owner.
func (s server) CreateService(ctx context.Context, m *types.MsgCreateService) (*types.MsgCreateServiceResponse, error) {
	id := m.Owner + "/" + m.Name
	exists, err := s.services.Has(ctx, id)
	if err != nil {
		return nil, err
	}
	if exists {
		return nil, types.Fail(vm.Refuse(vm.CodeExists, "service %s is there already, and is never replaced", id))
	}
	block := sdk.UnwrapSDKContext(ctx)
	service := types.Service{Id: id, Owner: m.Owner, Name: m.Name, Height: block.BlockHeight(), Time: block.BlockTime().Unix()}
	if m.Policy != nil {
		service.Policy = m.Policy.Normal()
	}
	err = errors.Join(
		s.services.Set(ctx, id, service),
		s.owned.Set(ctx, collections.Join(service.Owner, id)),
		s.record(block, id, types.Change{By: m.Owner, Kind: types.ChangeCreate}),
		block.EventManager().EmitTypedEvent(&types.EventServiceCreated{Service: id, Owner: m.Owner}),
	)
	return &types.MsgCreateServiceResponse{Service: id}, err
}

// ownService returns the service of an owner's message, with what was announced
// for now or before in place.
func (k Keeper) ownService(block sdk.Context, owner, id string) (types.Service, error) {
	service, err := k.Service(block, id)
	if err != nil {
		return service, err
	}
	if service.Owner != owner {
		return service, types.Fail(vm.Refuse(vm.CodePermission, "only the owner of a service changes it").On("owner", owner, service.Owner))
	}
	service.Settle(block.BlockTime().Unix())
	return service, nil
}

// record writes what an owner did to the service's history, which is never cut:
// who steals an owner's key cannot hide what he does with it.
func (k Keeper) record(block sdk.Context, service string, c types.Change) error {
	counters, err := k.Counters(block, service)
	if err != nil {
		return err
	}
	c.Seq, c.Height, c.Time = counters.Changes, block.BlockHeight(), block.BlockTime().Unix()
	counters.Changes++
	return errors.Join(
		k.changes.Set(block, collections.Join(service, c.Seq), c),
		k.counters.Set(block, service, counters),
	)
}

// Freeze closes the list of images for ever, and with it what else could give
// machines something new. What was announced before stays announced.
func (s server) Freeze(ctx context.Context, m *types.MsgFreeze) (*types.MsgFreezeResponse, error) {
	block := sdk.UnwrapSDKContext(ctx)
	service, err := s.ownService(block, m.Owner, m.Service)
	if err != nil {
		return nil, err
	}
	if service.FrozenAt != 0 {
		return nil, types.Fail(vm.Refuse(vm.CodeExists, "service %s is frozen already", service.Id))
	}
	service.FrozenAt = block.BlockTime().Unix()
	return &types.MsgFreezeResponse{}, errors.Join(
		s.services.Set(ctx, service.Id, service),
		s.record(block, service.Id, types.Change{By: m.Owner, Kind: types.ChangeFreeze}),
		block.EventManager().EmitTypedEvent(&types.EventFrozen{Service: service.Id}),
	)
}

// frozen refuses what would give the machines of a frozen service something new.
func frozen(service types.Service, what string) error {
	if service.FrozenAt == 0 {
		return nil
	}
	return types.Fail(vm.Refuse(vm.CodeFrozen, "service %s is frozen: %s", service.Id, what))
}

// Transfer gives the service to another account, or to a council. The new owner
// is bound by the same policy and delay.
func (s server) Transfer(ctx context.Context, m *types.MsgTransfer) (*types.MsgTransferResponse, error) {
	block := sdk.UnwrapSDKContext(ctx)
	service, err := s.ownService(block, m.Owner, m.Service)
	if err != nil {
		return nil, err
	}
	if m.To == service.Owner {
		return nil, types.Fail(vm.Refuse(vm.CodeExists, "service %s is theirs already", service.Id).On("to", m.To, "another owner"))
	}
	service.Owner = m.To
	return &types.MsgTransferResponse{}, errors.Join(
		s.services.Set(ctx, service.Id, service),
		s.owned.Remove(ctx, collections.Join(m.Owner, service.Id)),
		s.owned.Set(ctx, collections.Join(m.To, service.Id)),
		s.record(block, service.Id, types.Change{By: m.Owner, Kind: types.ChangeTransfer, Detail: m.To}),
		block.EventManager().EmitTypedEvent(&types.EventTransferred{Service: service.Id, From: m.Owner, To: m.To}),
	)
}
