package committee

import (
	"context"
	"errors"

	"cosmossdk.io/collections"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/secretvm/secretvm/kms/chain/x/committee/types"
	kmstypes "github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/vm"
)

// maxEpochs bounds the epochs that are open at a time.
const maxEpochs = 4

// govern checks that a message is the authority's.
func (s server) govern(ctx context.Context, sender string) (types.Params, error) {
	params, err := s.params.Get(ctx)
	if err != nil {
		return params, err
	}
	if sender != params.Authority {
		return params, kmstypes.Fail(vm.Refuse(vm.CodePermission, "only the chain's authority does this").On("authority", sender, params.Authority))
	}
	return params, nil
}

// owned returns a node to its operator, or to the authority.
func (s server) owned(ctx context.Context, sender string, index uint32) (types.Node, types.Params, error) {
	params, err := s.params.Get(ctx)
	if err != nil {
		return types.Node{}, params, err
	}
	n, err := s.nodes.Get(ctx, index)
	if errors.Is(err, collections.ErrNotFound) {
		return n, params, kmstypes.Fail(vm.Refuse(vm.CodeInvalid, "there is no node %d", index))
	}
	if err != nil {
		return n, params, err
	}
	if sender != n.Operator && sender != params.Authority {
		return n, params, kmstypes.Fail(vm.Refuse(vm.CodePermission, "node %d is another's", index).On("sender", sender, n.Operator))
	}
	return n, params, nil
}

// Leave takes a node out with the next round, in which it still deals.
func (s server) Leave(ctx context.Context, m *types.MsgLeave) (*types.MsgLeaveResponse, error) {
	n, _, err := s.owned(ctx, m.Sender, m.Index)
	if err != nil {
		return nil, err
	}
	block := sdk.UnwrapSDKContext(ctx)
	if n.Status == types.NodeJoining {
		return &types.MsgLeaveResponse{}, s.drop(block, n, "it left before it had a share")
	}
	if err := s.staying(ctx, n.Index); err != nil {
		return nil, err
	}
	return &types.MsgLeaveResponse{}, s.setStatus(block, n, types.NodeLeaving, "it leaves")
}

// Remove takes a node out at once: it relays and validates no more, its share
// counts until the others have new ones.
func (s server) Remove(ctx context.Context, m *types.MsgRemove) (*types.MsgRemoveResponse, error) {
	if _, err := s.govern(ctx, m.Authority); err != nil {
		return nil, err
	}
	n, _, err := s.owned(ctx, m.Authority, m.Index)
	if err != nil {
		return nil, err
	}
	block := sdk.UnwrapSDKContext(ctx)
	if n.Status == types.NodeJoining {
		return &types.MsgRemoveResponse{}, s.drop(block, n, bounded(m.Reason))
	}
	if err := s.staying(ctx, n.Index); err != nil {
		return nil, err
	}
	groups, err := s.Groups(ctx)
	if err != nil {
		return nil, err
	}
	for _, g := range groups {
		dealers := 0
		for _, member := range g.Members {
			other, err := s.nodes.Get(ctx, member.Index)
			if err != nil {
				return nil, err
			}
			if other.Index != n.Index && other.Status != types.NodeRemoved {
				dealers++
			}
		}
		if dealers < g.Threshold() {
			return nil, kmstypes.Fail(vm.Refuse(vm.CodeInvalid, "without node %d the key of epoch %d would be lost: %d nodes would hold shares, and %d are needed", n.Index, g.Epoch, dealers, g.Threshold()).
				Try("let other nodes join first, or let this one leave"))
		}
	}
	// A round under way would give it another share.
	if r, open, err := s.OpenRound(ctx); err != nil {
		return nil, err
	} else if _, holder := r.Holder(n.Index); open && holder {
		if err := s.abandon(block, r, "a node that was to get a share was removed"); err != nil {
			return nil, err
		}
	}
	return &types.MsgRemoveResponse{}, s.setStatus(block, n, types.NodeRemoved, bounded("removed: "+m.Reason))
}

// staying refuses to let the last node go.
func (s server) staying(ctx context.Context, index uint32) error {
	nodes, err := s.Nodes(ctx)
	if err != nil {
		return err
	}
	for _, n := range nodes {
		if n.Index != index && n.Status == types.NodeActive {
			return nil
		}
	}
	return kmstypes.Fail(vm.Refuse(vm.CodeInvalid, "node %d is the last active one, and the key would go with it", index))
}

// Address changes where a node is reached.
func (s server) Address(ctx context.Context, m *types.MsgAddress) (*types.MsgAddressResponse, error) {
	n, _, err := s.owned(ctx, m.Sender, m.Index)
	if err != nil {
		return nil, err
	}
	n.Api, n.Peer = m.Api, m.Peer
	return &types.MsgAddressResponse{}, s.setNode(ctx, n)
}

// MinReshare is how many blocks old a sharing must be before a member may ask for
// another: shares get lost, and nobody is to keep the others busy.
const MinReshare = 100

// Reshare asks for new shares; the round begins with the next block. A member
// may ask, because one that has lost its share can say so by nothing else.
func (s server) Reshare(ctx context.Context, m *types.MsgReshare) (*types.MsgReshareResponse, error) {
	group, err := s.Group(ctx, m.Epoch)
	if err != nil {
		return nil, err
	}
	if _, governErr := s.govern(ctx, m.Sender); governErr != nil {
		n, node, err := s.Signer(ctx, m.Sender)
		if err != nil {
			return nil, err
		}
		if _, member := group.Member(n.Index); !node || !member {
			return nil, governErr
		}
		if age := sdk.UnwrapSDKContext(ctx).BlockHeight() - group.Height; age < MinReshare {
			return nil, kmstypes.Fail(vm.Refuse(vm.CodeUnavailable, "the shares of epoch %d are %d blocks old, and members ask for others after %d", m.Epoch, age, MinReshare))
		}
	}
	return &types.MsgReshareResponse{}, s.asked.Set(ctx, m.Epoch)
}

// OpenEpoch has the nodes make another key, beside those that are.
func (s server) OpenEpoch(ctx context.Context, m *types.MsgOpenEpoch) (*types.MsgOpenEpochResponse, error) {
	if _, err := s.govern(ctx, m.Authority); err != nil {
		return nil, err
	}
	epochs, err := s.Epochs(ctx)
	if err != nil {
		return nil, err
	}
	open, err := s.OpenEpochs(ctx)
	if err != nil {
		return nil, err
	}
	if len(open) >= maxEpochs {
		return nil, kmstypes.Fail(vm.Refuse(vm.CodeTooLarge, "%d epochs are open, which is the most there can be", len(open)).Try("close one that no service needs"))
	}
	block := sdk.UnwrapSDKContext(ctx)
	e := types.Epoch{Epoch: uint64(len(epochs)), Opened: block.BlockHeight()}
	return &types.MsgOpenEpochResponse{Epoch: e.Epoch}, errors.Join(s.epochs.Set(ctx, e.Epoch, e),
		block.EventManager().EmitTypedEvent(&types.EventEpoch{Epoch: e.Epoch, State: "opened"}))
}

// CloseEpoch ends the use of a key: nodes answer no more for it and wipe their
// shares of it. What was encrypted under it alone is lost.
func (s server) CloseEpoch(ctx context.Context, m *types.MsgCloseEpoch) (*types.MsgCloseEpochResponse, error) {
	if _, err := s.govern(ctx, m.Authority); err != nil {
		return nil, err
	}
	if _, err := s.Group(ctx, m.Epoch); err != nil {
		return nil, err
	}
	groups, err := s.Groups(ctx)
	if err != nil {
		return nil, err
	}
	if len(groups) < 2 {
		return nil, kmstypes.Fail(vm.Refuse(vm.CodeInvalid, "epoch %d has the only key of the chain", m.Epoch).Try("open another epoch first"))
	}
	if r, open, err := s.OpenRound(ctx); err != nil {
		return nil, err
	} else if open && r.Epoch == m.Epoch {
		return nil, kmstypes.Fail(vm.Refuse(vm.CodeUnavailable, "a round of epoch %d is under way; close the epoch when it is over", m.Epoch))
	}
	e, err := s.epochs.Get(ctx, m.Epoch)
	if err != nil {
		return nil, err
	}
	block := sdk.UnwrapSDKContext(ctx)
	e.Closed = block.BlockHeight()
	return &types.MsgCloseEpochResponse{}, errors.Join(
		s.epochs.Set(ctx, e.Epoch, e), s.groups.Remove(ctx, e.Epoch), s.asked.Remove(ctx, e.Epoch), s.forgetBackups(ctx, e.Epoch), s.settle(block),
		block.EventManager().EmitTypedEvent(&types.EventEpoch{Epoch: e.Epoch, State: "closed"}),
	)
}

// UpdateParams changes how the committee is governed. Leave to join without
// evidence can be taken away, and is never given: owners trusted the chain
// without it.
func (s server) UpdateParams(ctx context.Context, m *types.MsgUpdateParams) (*types.MsgUpdateParamsResponse, error) {
	old, err := s.govern(ctx, m.Authority)
	if err != nil {
		return nil, err
	}
	if m.Params.UnattestedNodes && !old.UnattestedNodes {
		return nil, kmstypes.Fail(vm.Refuse(vm.CodePermission, "nodes without evidence can be ruled out, and never let in").On("unattested_nodes", "true", "false"))
	}
	if old.UnattestedNodes && !m.Params.UnattestedNodes {
		nodes, err := s.Nodes(ctx)
		if err != nil {
			return nil, err
		}
		for _, n := range nodes {
			if !n.Identity.Attested || n.Next != nil && !n.Next.Attested {
				return nil, kmstypes.Fail(vm.Refuse(vm.CodeInvalid, "node %d was admitted without evidence and is still there", n.Index).
					Try("let nodes with evidence join and this one leave first"))
			}
		}
	}
	return &types.MsgUpdateParamsResponse{}, s.params.Set(ctx, m.Params)
}
