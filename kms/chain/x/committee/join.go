package committee

import (
	"bytes"
	"context"
	"slices"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/kms/chain/x/committee/types"
	kmstypes "github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/kms/decision"
	"github.com/secretvm/secretvm/vm"
)

// maxJoining bounds the nodes that wait for their first shares.
const maxJoining = 16

// Judge decides about a machine's evidence: x/kms, as it decides releases.
type Judge interface {
	Admit(ctx context.Context, m *kmstypes.MsgRelease, about vm.Admission) (decision.Outcome, error)
}

// Accounts gives accounts to addresses on somebody's word: x/council.
type Accounts interface {
	Vouch(ctx sdk.Context, address, by string) error
}

// Join admits a node. It holds shares, and validates, after the next round.
func (s server) Join(ctx context.Context, m *types.MsgJoin) (*types.MsgJoinResponse, error) {
	params, err := s.params.Get(ctx)
	if err != nil {
		return nil, err
	}
	if m.Sender != params.Authority {
		if m.Sender != m.Operator {
			return nil, kmstypes.Fail(vm.Refuse(vm.CodePermission, "an operator brings its own nodes only").On("operator", m.Operator, m.Sender))
		}
		if !slices.Contains(params.Operators, m.Operator) {
			return nil, kmstypes.Fail(vm.Refuse(vm.CodePermission, "the chain's authority has not named this operator").On("operator", m.Operator, "one of the parameter operators"))
		}
	}
	nodes, err := s.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	index, err := place(nodes, m.Replaces)
	if err != nil {
		return nil, err
	}
	identity, err := s.identify(ctx, params, nodes, claim{m.Sender, m.Operator, m.Relay, m.ConsensusKey, m.SealingKey, m.Evidence})
	if err != nil {
		return nil, err
	}
	block := sdk.UnwrapSDKContext(ctx)
	if err := s.accounts.Vouch(block, identity.Relay, m.Sender); err != nil {
		return nil, err
	}
	n := types.Node{Index: index, Operator: m.Operator, Identity: identity, Api: m.Api, Peer: m.Peer, Replaces: m.Replaces}
	return &types.MsgJoinResponse{Index: index}, s.setStatus(block, n, types.NodeJoining, "admitted")
}

// Rotate gives a node another identity, which takes over with the next round.
func (s server) Rotate(ctx context.Context, m *types.MsgRotate) (*types.MsgRotateResponse, error) {
	n, params, err := s.owned(ctx, m.Sender, m.Index)
	if err != nil {
		return nil, err
	}
	if n.Status != types.NodeActive {
		return nil, kmstypes.Fail(vm.Refuse(vm.CodeInvalid, "node %d is not active, so there is nothing to hand over", m.Index))
	}
	nodes, err := s.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	identity, err := s.identify(ctx, params, nodes, claim{m.Sender, n.Operator, m.Relay, m.ConsensusKey, m.SealingKey, m.Evidence})
	if err != nil {
		return nil, err
	}
	block := sdk.UnwrapSDKContext(ctx)
	if err := s.accounts.Vouch(block, identity.Relay, m.Sender); err != nil {
		return nil, err
	}
	if n.Next != nil {
		if err := s.relays.Remove(ctx, n.Next.Relay); err != nil {
			return nil, err
		}
	}
	n.Next = &identity
	return &types.MsgRotateResponse{}, s.setStatus(block, n, n.Status, "other keys are announced")
}

// place finds the index of a new node, and checks the one that it replaces.
func place(nodes []types.Node, replaces uint32) (uint32, error) {
	used, joining := make(map[uint32]bool, len(nodes)), 0
	for _, n := range nodes {
		used[n.Index] = true
		if n.Status == types.NodeJoining {
			joining++
		}
	}
	switch {
	case joining >= maxJoining:
		return 0, kmstypes.Fail(vm.Refuse(vm.CodeTooLarge, "%d nodes wait for their first shares, which is the most there can be", joining))
	case replaces != 0 && (!used[replaces] || relieved(nodes, replaces)):
		return 0, kmstypes.Fail(vm.Refuse(vm.CodeInvalid, "node %d is not there to be replaced", replaces))
	}
	for index := uint32(1); index <= keys.MaxNodes; index++ {
		if !used[index] {
			return index, nil
		}
	}
	return 0, kmstypes.Fail(vm.Refuse(vm.CodeTooLarge, "there are %d nodes, which is the most there can be", len(nodes)))
}

// claim is what a sender says of a node's new identity.
type claim struct {
	sender, operator, relay  string
	consensusKey, sealingKey []byte
	evidence                 *types.Evidence
}

// identify makes the identity of a claim: new keys that nobody else has, proved
// by evidence, or taken on the authority's word where the chain allows that.
func (s server) identify(ctx context.Context, params types.Params, nodes []types.Node, c claim) (types.Identity, error) {
	block := sdk.UnwrapSDKContext(ctx)
	identity := types.Identity{
		Relay: c.relay, ConsensusKey: c.consensusKey, SealingKey: c.sealingKey,
		Height: block.BlockHeight(), Time: block.BlockTime().Unix(),
	}
	for _, n := range nodes {
		for _, known := range []*types.Identity{&n.Identity, n.Next} {
			if known != nil && (known.Relay == c.relay || bytes.Equal(known.ConsensusKey, c.consensusKey) || bytes.Equal(known.SealingKey, c.sealingKey)) {
				return identity, kmstypes.Fail(vm.Refuse(vm.CodeExists, "node %d has the relay account or one of these keys already", n.Index))
			}
		}
	}
	if c.evidence == nil {
		if !params.UnattestedNodes || c.sender != params.Authority {
			return identity, kmstypes.Fail(vm.Refuse(vm.CodePermission, "a node proves what it runs").On("evidence", "none", "a quote about vm.Admission"))
		}
		return identity, nil
	}
	if params.NodeService == "" {
		return identity, kmstypes.Fail(vm.Refuse(vm.CodeInvalid, "the chain's parameters name no service whose machines may be nodes").
			Try("the authority sets node_service first"))
	}
	release := c.evidence.Release(params.NodeService)
	out, err := s.judge.Admit(ctx, release, vm.Admission{Operator: c.operator, Relay: c.relay, ConsensusKey: c.consensusKey, SealingKey: c.sealingKey})
	if err != nil {
		return identity, err
	}
	identity.Attested, identity.Image, identity.TcbStatus = true, out.Image, out.Verdict.TCBStatus
	return identity, nil
}
