package committee

import (
	"bytes"
	"context"
	"slices"

	"cosmossdk.io/collections"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/secretvm/secretvm/keys/dkg"
	"github.com/secretvm/secretvm/kms/chain/x/committee/types"
	kmstypes "github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/vm"
)

// Gas of what a round's messages make every validator compute: one
// multiplication on G2 is a third of a millisecond.
const (
	roundGas = 200_000
	PointGas = 500_000
)

// server answers the module's messages.
type server struct {
	Keeper
	judge    Judge
	accounts Accounts
}

var _ types.MsgServer = server{}

// NewMsgServer returns the module's message server, which asks judge about
// evidence and gives new nodes accounts.
func NewMsgServer(k Keeper, judge Judge, accounts Accounts) types.MsgServer {
	return server{k, judge, accounts}
}

// part finds the node that acts in a phase of the open round, once. The error
// is a refusal.
func (k Keeper) part(ctx context.Context, relay string, round uint64, phase types.Phase, done func(context.Context, collections.Pair[uint64, uint32]) (bool, error)) (types.Round, uint32, error) {
	n, ok, err := k.Signer(ctx, relay)
	if err != nil {
		return types.Round{}, 0, err
	}
	if !ok {
		return types.Round{}, 0, kmstypes.Fail(vm.Refuse(vm.CodePermission, "only nodes take part in rounds").On("relay", relay, "a node's account"))
	}
	r, open, err := k.OpenRound(ctx)
	if err != nil {
		return r, 0, err
	}
	if !open || r.Id != round || r.Phase != phase {
		return r, 0, kmstypes.Fail(vm.Refuse(vm.CodeStale, "round %d is not in the phase for this", round))
	}
	acts := r.Dealers
	if phase == types.PhasePrepare || phase == types.PhaseComplain {
		acts = indices(r.Holders)
	}
	if !slices.Contains(acts, n.Index) {
		return r, 0, kmstypes.Fail(vm.Refuse(vm.CodePermission, "node %d has no part in this phase of round %d", n.Index, round))
	}
	if want := Voice(r, n, phase); relay != want {
		return r, 0, kmstypes.Fail(vm.Refuse(vm.CodePermission, "node %d has other keys for its part in this phase", n.Index).On("relay", relay, want))
	}
	acted, err := done(ctx, collections.Join(round, n.Index))
	if err != nil {
		return r, 0, err
	}
	if acted {
		return r, 0, kmstypes.Fail(vm.Refuse(vm.CodeExists, "node %d has acted in this phase of round %d already", n.Index, round))
	}
	return r, n.Index, nil
}

// Voice is the account that a node acts with: what hands on a share is said
// under the identity that has it, what takes one under the identity that gets
// it, so that a node whose keys change cannot keep what its successor is to have.
func Voice(r types.Round, n types.Node, phase types.Phase) string {
	if n.Next == nil || (phase != types.PhasePrepare && phase != types.PhaseComplain) {
		return n.Identity.Relay
	}
	if holder, ok := r.Holder(n.Index); ok && bytes.Equal(holder.IdentityDigest, n.Next.Digest()) {
		return n.Next.Relay
	}
	return n.Identity.Relay
}

// Precheck is what CheckTx asks of a message before it may enter the mempool,
// beyond its signature: whether its sender may act now.
func (k Keeper) Precheck(ctx context.Context, msg sdk.Msg) (err error) {
	switch m := msg.(type) {
	case *types.MsgPrepare:
		_, _, err = k.part(ctx, m.Relay, m.Round, types.PhasePrepare, k.fresh.Has)
	case *types.MsgDeal:
		_, _, err = k.part(ctx, m.Relay, m.Round, types.PhaseDeal, k.deals.Has)
	case *types.MsgComplain:
		_, _, err = k.part(ctx, m.Relay, m.Round, types.PhaseComplain, k.complaints.Has)
	case *types.MsgJustify:
		_, _, err = k.part(ctx, m.Relay, m.Round, types.PhaseJustify, k.answers.Has)
	case *types.MsgBackup:
		_, _, err = k.mayBackUp(ctx, m)
	}
	return err
}

// Prepare records the key that a holder wants its share sealed to.
func (s server) Prepare(ctx context.Context, m *types.MsgPrepare) (*types.MsgPrepareResponse, error) {
	sdk.UnwrapSDKContext(ctx).GasMeter().ConsumeGas(roundGas, "take part in a round")
	_, index, err := s.part(ctx, m.Relay, m.Round, types.PhasePrepare, s.fresh.Has)
	if err != nil {
		return nil, err
	}
	return &types.MsgPrepareResponse{}, s.fresh.Set(ctx, collections.Join(m.Round, index), m.Key)
}

// Deal records a deal whose public part is right. Whether the shares in it are,
// their holders will say.
func (s server) Deal(ctx context.Context, m *types.MsgDeal) (*types.MsgDealResponse, error) {
	block := sdk.UnwrapSDKContext(ctx)
	block.GasMeter().ConsumeGas(roundGas, "take part in a round")
	r, index, err := s.part(ctx, m.Relay, m.Round, types.PhaseDeal, s.deals.Has)
	if err != nil {
		return nil, err
	}
	block.GasMeter().ConsumeGas(PointGas*(uint64(r.Threshold)+uint64(len(r.Old))), "verify a deal")
	a, err := r.Arithmetic(block.ChainID())
	if err != nil {
		return nil, err
	}
	deal, err := a.Read(m.Deal)
	if err != nil {
		return nil, kmstypes.Fail(vm.Refuse(vm.CodeInvalid, "%v", err))
	}
	if deal.Dealer != index {
		return nil, kmstypes.Fail(vm.Refuse(vm.CodePermission, "node %d sends a deal of node %d", index, deal.Dealer))
	}
	return &types.MsgDealResponse{}, s.deals.Set(ctx, collections.Join(m.Round, index), m.Deal)
}

// Complain records what a holder says of the deals: nothing else than that all
// has come to it well, or whose share has not.
func (s server) Complain(ctx context.Context, m *types.MsgComplain) (*types.MsgComplainResponse, error) {
	sdk.UnwrapSDKContext(ctx).GasMeter().ConsumeGas(roundGas, "take part in a round")
	r, index, err := s.part(ctx, m.Relay, m.Round, types.PhaseComplain, s.complaints.Has)
	if err != nil {
		return nil, err
	}
	for _, dealer := range m.Complaint.Dealers {
		dealt, err := s.deals.Has(ctx, collections.Join(r.Id, dealer))
		if err != nil {
			return nil, err
		}
		if !dealt {
			return nil, kmstypes.Fail(vm.Refuse(vm.CodeInvalid, "node %d complains about node %d, which has not dealt", index, dealer))
		}
	}
	return &types.MsgComplainResponse{}, s.complaints.Set(ctx, collections.Join(m.Round, index), m.Complaint)
}

// Justify records the shares that an accused dealer shows: all that were called
// wrong and no other, each right.
func (s server) Justify(ctx context.Context, m *types.MsgJustify) (*types.MsgJustifyResponse, error) {
	block := sdk.UnwrapSDKContext(ctx)
	block.GasMeter().ConsumeGas(roundGas, "take part in a round")
	r, index, err := s.part(ctx, m.Relay, m.Round, types.PhaseJustify, s.answers.Has)
	if err != nil {
		return nil, err
	}
	t, err := s.Transcript(ctx, r.Id)
	if err != nil {
		return nil, err
	}
	by := t.Accused()[index]
	if len(by) == 0 || len(by) != len(m.Justification.Shares) {
		return nil, kmstypes.Fail(vm.Refuse(vm.CodeInvalid, "node %d shows %d shares, and %d nodes complain about it", index, len(m.Justification.Shares), len(by)))
	}
	a, err := r.Arithmetic(block.ChainID())
	if err != nil {
		return nil, err
	}
	deal, err := dkg.ParseDeal(t.Deals[index])
	if err != nil {
		return nil, err
	}
	block.GasMeter().ConsumeGas(PointGas*uint64(r.Threshold)*uint64(len(by)), "verify shares")
	for _, j := range m.Justification.Reveals(index) {
		if !by[j.Member] {
			return nil, kmstypes.Fail(vm.Refuse(vm.CodeInvalid, "node %d shows the share of node %d, which did not complain", index, j.Member))
		}
		if err := a.CheckJustification(deal, j); err != nil {
			return nil, kmstypes.Fail(vm.Refuse(vm.CodeInvalid, "%v", err))
		}
	}
	return &types.MsgJustifyResponse{}, s.answers.Set(ctx, collections.Join(m.Round, index), m.Justification)
}
