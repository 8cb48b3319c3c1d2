package council

import (
	"context"
	"slices"

	"cosmossdk.io/collections"

	codectypes "github.com/cosmos/cosmos-sdk/codec/types"
	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/secretvm/secretvm/kms/chain/x/council/types"
	"github.com/secretvm/secretvm/vm"
)

// Propose puts messages before a council, approved by who proposes them. Every
// message has the council for its only signer, or it would be another's.
func (s server) Propose(ctx context.Context, m *types.MsgPropose) (*types.MsgProposeResponse, error) {
	block := sdk.UnwrapSDKContext(ctx)
	c, err := s.Council(ctx, m.Council)
	if err != nil {
		return nil, err
	}
	if err := mayVote(c, m.Proposer); err != nil {
		return nil, err
	}
	if c.Open >= types.MaxOpen {
		return nil, fail(vm.CodeTooLarge, "council %s has %d open proposals, which is the most there can be", c.Address, c.Open)
	}
	if err := s.checkSigners(c.Address, m.Messages); err != nil {
		return nil, err
	}
	p := types.Proposal{
		Council: c.Address, Proposer: m.Proposer, Title: m.Title, Messages: m.Messages, Status: types.STATUS_OPEN,
		Height: block.BlockHeight(), Time: block.BlockTime().Unix(), Expires: block.BlockTime().Unix() + types.DefaultLifetime,
	}
	if m.LifetimeSeconds != 0 {
		p.Expires = p.Time + int64(m.LifetimeSeconds)
	}
	if p.Id, err = s.nextProposal.Next(ctx); err != nil {
		return nil, err
	}
	c.Open++
	if err := s.begin(block, c, p); err != nil {
		return nil, err
	}
	if err := s.approve(block, c, &p, m.Proposer); err != nil {
		return nil, err
	}
	return &types.MsgProposeResponse{Proposal: p.Id, Status: p.Status, Failure: p.Failure}, nil
}

// checkSigners wants messages that this chain executes, signed by one address.
func (s server) checkSigners(council string, packed []*codectypes.Any) error {
	msgs, ok := types.Msgs(packed)
	if !ok {
		return fail(vm.CodeInvalid, "propose: what is no message of this chain cannot be executed")
	}
	want, err := s.accounts.AddressCodec().StringToBytes(council)
	if err != nil {
		return err
	}
	for i, msg := range msgs {
		if s.router.Handler(msg) == nil {
			return fail(vm.CodeInvalid, "propose: nothing executes message %d, %s", i, sdk.MsgTypeURL(msg))
		}
		signers, _, err := s.cdc.GetMsgV1Signers(msg)
		if err != nil || len(signers) != 1 || !slices.Equal(signers[0], want) {
			return fail(vm.CodePermission, "propose: message %d, %s, is not signed by council %s alone", i, sdk.MsgTypeURL(msg), council)
		}
	}
	return nil
}

// Approve says yes. Saying it again changes nothing.
func (s server) Approve(ctx context.Context, m *types.MsgApprove) (*types.MsgApproveResponse, error) {
	block := sdk.UnwrapSDKContext(ctx)
	c, p, err := s.vote(block, m.Member, m.Proposal)
	if err != nil {
		return nil, err
	}
	if err := s.approve(block, c, &p, m.Member); err != nil {
		return nil, err
	}
	return &types.MsgApproveResponse{Status: p.Status, Failure: p.Failure}, nil
}

// Reject says no, instead of an earlier yes. Once so many said no that the rest
// cannot reach the threshold, the proposal is closed.
func (s server) Reject(ctx context.Context, m *types.MsgReject) (*types.MsgRejectResponse, error) {
	block := sdk.UnwrapSDKContext(ctx)
	c, p, err := s.vote(block, m.Member, m.Proposal)
	if err != nil {
		return nil, err
	}
	p.Approvals, p.Rejections = without(p.Approvals, m.Member), with(p.Rejections, m.Member)
	if err := block.EventManager().EmitTypedEvent(&types.EventRejected{Proposal: p.Id, Member: m.Member}); err != nil {
		return nil, err
	}
	if len(c.Members)-len(p.Rejections) < int(c.Threshold) {
		err = s.end(block, &p, types.STATUS_REJECTED, nil)
	} else {
		err = s.proposals.Set(block, p.Id, p)
	}
	return &types.MsgRejectResponse{Status: p.Status}, err
}

// Withdraw closes a proposal for who made it.
func (s server) Withdraw(ctx context.Context, m *types.MsgWithdraw) (*types.MsgWithdrawResponse, error) {
	block := sdk.UnwrapSDKContext(ctx)
	p, err := s.Proposal(ctx, m.Proposal)
	if err != nil {
		return nil, err
	}
	if p.Proposer != m.Proposer {
		return nil, fail(vm.CodePermission, "proposal %d is withdrawn by its proposer %s alone", p.Id, p.Proposer)
	}
	if err := isOpen(p, block); err != nil {
		return nil, err
	}
	return &types.MsgWithdrawResponse{}, s.end(block, &p, types.STATUS_WITHDRAWN, nil)
}

// vote finds what a member may vote on.
func (s server) vote(ctx sdk.Context, member string, id uint64) (types.Council, types.Proposal, error) {
	p, err := s.Proposal(ctx, id)
	if err != nil {
		return types.Council{}, p, err
	}
	c, err := s.Council(ctx, p.Council)
	if err != nil {
		return c, p, err
	}
	if err := mayVote(c, member); err != nil {
		return c, p, err
	}
	return c, p, isOpen(p, ctx)
}

func mayVote(c types.Council, member string) error {
	if !slices.Contains(c.Members, member) {
		return fail(vm.CodePermission, "%s is no member of council %s", member, c.Address)
	}
	return nil
}

// isOpen refuses what is decided, and what expired though nobody wrote it down
// yet.
func isOpen(p types.Proposal, ctx sdk.Context) error {
	switch {
	case p.Status != types.STATUS_OPEN:
		return fail(vm.CodeStale, "proposal %d is not open: %s", p.Id, p.Status)
	case ctx.BlockTime().Unix() >= p.Expires:
		return fail(vm.CodeExpired, "proposal %d has expired", p.Id)
	}
	return nil
}

// approve counts a yes, and executes when it is the last that was needed.
func (s server) approve(ctx sdk.Context, c types.Council, p *types.Proposal, member string) error {
	p.Approvals, p.Rejections = with(p.Approvals, member), without(p.Rejections, member)
	said := &types.EventApproved{Proposal: p.Id, Member: member, Approvals: uint32(len(p.Approvals)), Threshold: c.Threshold}
	if err := ctx.EventManager().EmitTypedEvent(said); err != nil {
		return err
	}
	if len(p.Approvals) < int(c.Threshold) {
		return s.proposals.Set(ctx, p.Id, *p)
	}
	return s.execute(ctx, p)
}

// begin writes a new proposal with all that finds it.
func (k Keeper) begin(ctx sdk.Context, c types.Council, p types.Proposal) error {
	if err := k.councils.Set(ctx, c.Address, c); err != nil {
		return err
	}
	if err := k.proposals.Set(ctx, p.Id, p); err != nil {
		return err
	}
	if err := k.index(ctx, p); err != nil {
		return err
	}
	urls := make([]string, len(p.Messages))
	for i, m := range p.Messages {
		urls[i] = m.TypeUrl
	}
	return ctx.EventManager().EmitTypedEvent(&types.EventProposed{Proposal: p.Id, Council: p.Council, Proposer: p.Proposer, Messages: urls, Expires: p.Expires})
}

// index writes what finds a proposal.
func (k Keeper) index(ctx context.Context, p types.Proposal) error {
	if err := k.ofCouncil.Set(ctx, collections.Join(p.Council, p.Id)); err != nil {
		return err
	}
	if p.Status != types.STATUS_OPEN {
		return nil
	}
	if err := k.open.Set(ctx, collections.Join(p.Council, p.Id)); err != nil {
		return err
	}
	return k.expiring.Set(ctx, collections.Join(p.Expires, p.Id))
}

func with(set []string, s string) []string {
	i, found := slices.BinarySearch(set, s)
	if found {
		return set
	}
	return slices.Insert(set, i, s)
}

func without(set []string, s string) []string {
	i, found := slices.BinarySearch(set, s)
	if !found {
		return set
	}
	return slices.Delete(set, i, i+1)
}
