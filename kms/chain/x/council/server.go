package council

import (
	"context"
	"slices"

	"cosmossdk.io/collections"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/secretvm/secretvm/kms/chain/x/council/types"
	"github.com/secretvm/secretvm/vm"
)

// server answers the module's messages.
type server struct{ Keeper }

var _ types.MsgServer = server{}

// NewMsgServer returns the module's message server.
func NewMsgServer(k Keeper) types.MsgServer { return server{k} }

// Admit gives accounts to addresses. Addresses that have one stay as they are.
func (s server) Admit(ctx context.Context, m *types.MsgAdmit) (*types.MsgAdmitResponse, error) {
	block := sdk.UnwrapSDKContext(ctx)
	for _, a := range m.Addresses {
		if err := s.admit(block, a, m.Sender); err != nil {
			return nil, err
		}
	}
	return &types.MsgAdmitResponse{}, nil
}

// CreateCouncil makes a council, and accounts for members that have none.
func (s server) CreateCouncil(ctx context.Context, m *types.MsgCreateCouncil) (*types.MsgCreateCouncilResponse, error) {
	block := sdk.UnwrapSDKContext(ctx)
	id, err := s.nextCouncil.Next(ctx)
	if err != nil {
		return nil, err
	}
	address, err := types.Address(id)
	if err != nil {
		return nil, err
	}
	c := types.Council{Id: id, Address: address, Description: m.Description, Height: block.BlockHeight(), Time: block.BlockTime().Unix()}
	if err := s.seat(block, &c, m.Members, m.Threshold, m.Creator); err != nil {
		return nil, err
	}
	err = block.EventManager().EmitTypedEvent(&types.EventCreated{Council: address, Members: c.Members, Threshold: c.Threshold})
	return &types.MsgCreateCouncilResponse{Id: id, Address: address}, err
}

// SetMembers replaces members and threshold. It is signed by the council itself,
// so it comes out of a proposal; all others that are open end, because they were
// put before other people.
func (s server) SetMembers(ctx context.Context, m *types.MsgSetMembers) (*types.MsgSetMembersResponse, error) {
	block := sdk.UnwrapSDKContext(ctx)
	if err := s.supersede(block, m.Council); err != nil {
		return nil, err
	}
	c, err := s.Council(ctx, m.Council)
	if err != nil {
		return nil, err
	}
	if err := s.seat(block, &c, m.Members, m.Threshold, m.Council); err != nil {
		return nil, err
	}
	err = block.EventManager().EmitTypedEvent(&types.EventMembers{Council: c.Address, Members: c.Members, Threshold: c.Threshold})
	return &types.MsgSetMembersResponse{}, err
}

// seat writes a council with new members.
func (s server) seat(ctx sdk.Context, c *types.Council, members []string, threshold uint32, by string) error {
	if slices.Contains(members, c.Address) {
		return fail(vm.CodeInvalid, "council %s cannot be a member of itself", c.Address)
	}
	for _, old := range c.Members {
		if err := s.members.Remove(ctx, collections.Join(old, c.Address)); err != nil {
			return err
		}
	}
	c.Members, c.Threshold = types.Sorted(members), threshold
	for _, member := range c.Members {
		if err := s.admit(ctx, member, by); err != nil {
			return err
		}
		if err := s.members.Set(ctx, collections.Join(member, c.Address)); err != nil {
			return err
		}
	}
	return s.councils.Set(ctx, c.Address, *c)
}

// supersede ends the open proposals of a council.
func (s server) supersede(ctx sdk.Context, council string) error {
	var open []uint64
	err := s.open.Walk(ctx, collections.NewPrefixedPairRange[string, uint64](council), func(key collections.Pair[string, uint64]) (bool, error) {
		open = append(open, key.K2())
		return false, nil
	})
	if err != nil {
		return err
	}
	for _, id := range open {
		p, err := s.Proposal(ctx, id)
		if err != nil {
			return err
		}
		if err := s.end(ctx, &p, types.STATUS_SUPERSEDED, nil); err != nil {
			return err
		}
	}
	return nil
}
