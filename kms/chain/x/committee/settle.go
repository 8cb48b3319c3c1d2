package committee

import (
	"bytes"
	"context"
	"errors"

	"cosmossdk.io/collections"
	abci "github.com/cometbft/cometbft/abci/types"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/secretvm/secretvm/kms/chain/x/committee/types"
)

// settle draws the consequences of a new sharing: who now holds shares of every
// open epoch is active, under the keys that they were sealed to; who holds none
// any more is gone.
func (k Keeper) settle(ctx sdk.Context) error {
	groups, err := k.Groups(ctx)
	if err != nil {
		return err
	}
	nodes, err := k.Nodes(ctx)
	if err != nil {
		return err
	}
	if err := k.relieve(ctx, groups, nodes); err != nil {
		return err
	}
	if nodes, err = k.Nodes(ctx); err != nil {
		return err
	}
	for _, n := range nodes {
		of, under, underNext := memberships(groups, n)
		switch {
		case of == 0 && (n.Status == types.NodeLeaving || n.Status == types.NodeRemoved):
			if err := k.drop(ctx, n, "it holds no share any more"); err != nil {
				return err
			}
		case n.Next != nil && underNext == len(groups):
			if err := k.takeNext(ctx, n); err != nil {
				return err
			}
		case n.Status == types.NodeJoining && under == len(groups):
			if err := k.setStatus(ctx, n, types.NodeActive, "it holds shares"); err != nil {
				return err
			}
		}
	}
	return nil
}

// relieve lets nodes go whose places were taken by others that now hold shares.
func (k Keeper) relieve(ctx sdk.Context, groups []types.Group, nodes []types.Node) error {
	for _, n := range nodes {
		if _, under, _ := memberships(groups, n); n.Replaces == 0 || n.Status != types.NodeJoining || under != len(groups) {
			continue
		}
		old, err := k.nodes.Get(ctx, n.Replaces)
		if errors.Is(err, collections.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if err := k.setStatus(ctx, old, types.NodeLeaving, "another node has taken its place"); err != nil {
			return err
		}
	}
	return nil
}

// memberships counts of how many groups a node is a member, and of how many
// under its present and its next identity.
func memberships(groups []types.Group, n types.Node) (of, under, underNext int) {
	for _, g := range groups {
		m, ok := g.Member(n.Index)
		if !ok {
			continue
		}
		of++
		if bytes.Equal(m.IdentityDigest, n.Identity.Digest()) {
			under++
		}
		if n.Next != nil && bytes.Equal(m.IdentityDigest, n.Next.Digest()) {
			underNext++
		}
	}
	return of, under, underNext
}

// takeNext makes a node's next identity its only one.
func (k Keeper) takeNext(ctx sdk.Context, n types.Node) error {
	if n.Next.Relay != n.Identity.Relay {
		if err := k.relays.Remove(ctx, n.Identity.Relay); err != nil {
			return err
		}
	}
	n.Identity, n.Next = *n.Next, nil
	return k.setStatus(ctx, n, n.Status, "it has new keys")
}

// leaveOut drops nodes, and next identities, that were to get their first
// shares and said nothing in a phase of holders: they would count, and hold
// nothing.
func (k Keeper) leaveOut(ctx sdk.Context, r types.Round, spoke func(uint32) bool) (left bool, err error) {
	for _, h := range r.Holders {
		if spoke(h.Index) {
			continue
		}
		n, err := k.nodes.Get(ctx, h.Index)
		if err != nil {
			return left, err
		}
		switch {
		case n.Status == types.NodeJoining:
			left = true
			if err := k.drop(ctx, n, "it took no part in the round that was to give it a share"); err != nil {
				return left, err
			}
		case n.Next != nil:
			left = true
			if n.Next.Relay != n.Identity.Relay {
				if err := k.relays.Remove(ctx, n.Next.Relay); err != nil {
					return left, err
				}
			}
			n.Next = nil
			if err := k.setStatus(ctx, n, n.Status, "its new keys took no part in the round that was to give them a share"); err != nil {
				return left, err
			}
		}
	}
	return left, nil
}

// drop forgets a node.
func (k Keeper) drop(ctx sdk.Context, n types.Node, reason string) error {
	err := errors.Join(k.nodes.Remove(ctx, n.Index), k.relays.Remove(ctx, n.Identity.Relay))
	if n.Next != nil {
		err = errors.Join(err, k.relays.Remove(ctx, n.Next.Relay))
	}
	return errors.Join(err, ctx.EventManager().EmitTypedEvent(&types.EventNode{Index: n.Index, Gone: true, Reason: reason}))
}

// setStatus writes a node, and says why.
func (k Keeper) setStatus(ctx sdk.Context, n types.Node, status types.NodeStatus, reason string) error {
	n.Status = status
	return errors.Join(k.setNode(ctx, n), ctx.EventManager().EmitTypedEvent(&types.EventNode{Index: n.Index, Status: status, Reason: reason}))
}

// updateValidators tells CometBFT who came and who went. A chain keeps its last
// validators rather than have none.
func (k Keeper) updateValidators(ctx context.Context) ([]abci.ValidatorUpdate, error) {
	nodes, err := k.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	want := make(map[string]bool)
	var updates []abci.ValidatorUpdate
	for _, n := range nodes {
		if n.Status != types.NodeActive && n.Status != types.NodeLeaving {
			continue
		}
		key := n.Identity.ConsensusKey
		want[string(key)] = true
		told, err := k.validators.Has(ctx, key)
		if err != nil {
			return nil, err
		}
		if !told {
			updates = append(updates, abci.Ed25519ValidatorUpdate(key, types.Power))
			if err := k.validators.Set(ctx, key); err != nil {
				return nil, err
			}
		}
	}
	if len(want) == 0 {
		return nil, nil
	}
	var gone [][]byte
	err = k.validators.Walk(ctx, nil, func(key []byte) (bool, error) {
		if !want[string(key)] {
			gone = append(gone, key)
		}
		return false, nil
	})
	for _, key := range gone {
		updates = append(updates, abci.Ed25519ValidatorUpdate(key, 0))
		err = errors.Join(err, k.validators.Remove(ctx, key))
	}
	return updates, err
}
