package committee

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"cosmossdk.io/collections"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/secretvm/secretvm/kms/chain/x/committee/types"
)

// maxPauses bounds how often a failed round doubles the pause before the next.
const maxPauses = 6

// schedule opens the round that is due: an open epoch has no key, its holders
// are not the nodes that shall hold it, its shares are old, they are backed up to
// others than those who are named now, or the authority asked. One round at a time; epochs in order.
func (k Keeper) schedule(ctx sdk.Context, params types.Params) error {
	pause, err := k.pause.Get(ctx)
	if err != nil && !errors.Is(err, collections.ErrNotFound) {
		return err
	}
	if ctx.BlockTime().Unix() < pause.Until {
		return nil
	}
	nodes, err := k.Nodes(ctx)
	if err != nil {
		return err
	}
	holders := wanted(nodes)
	open, err := k.OpenEpochs(ctx)
	if err != nil || len(holders) == 0 {
		return err
	}
	rules, err := k.recoveryNow(ctx)
	if err != nil {
		return err
	}
	for _, epoch := range open {
		group, err := k.groups.Get(ctx, epoch)
		if errors.Is(err, collections.ErrNotFound) {
			return k.begin(ctx, types.Round{Epoch: epoch, Kind: types.RoundGenerate, Dealers: indices(holders), Holders: holders})
		}
		if err != nil {
			return err
		}
		due, err := k.due(ctx, params, group, holders)
		if err != nil {
			return err
		}
		if due || !group.Recovery.Same(rules.Current) {
			return k.begin(ctx, types.Round{Epoch: epoch, Kind: types.RoundReshare, Dealers: members(group), Holders: holders, Old: group.Commitments})
		}
	}
	return nil
}

// due reports whether a group wants new shares.
func (k Keeper) due(ctx sdk.Context, params types.Params, group types.Group, holders []types.Holder) (bool, error) {
	if !holds(group, holders) {
		return true, nil
	}
	if params.ReshareInterval != 0 && ctx.BlockHeight()-group.Height >= int64(params.ReshareInterval) {
		return true, nil
	}
	return k.asked.Has(ctx, group.Epoch)
}

// wanted are the nodes that shall hold shares, under the identities that they
// shall have.
func wanted(nodes []types.Node) []types.Holder {
	var out []types.Holder
	for _, n := range nodes {
		if n.Status != types.NodeJoining && n.Status != types.NodeActive || relieved(nodes, n.Index) {
			continue
		}
		identity := n.Identity
		if n.Next != nil {
			identity = *n.Next
		}
		out = append(out, identity.Holder(n.Index))
	}
	return out
}

// relieved reports whether another node is about to take a node's place.
func relieved(nodes []types.Node, index uint32) bool {
	return slices.ContainsFunc(nodes, func(n types.Node) bool { return n.Replaces == index && n.Status == types.NodeJoining })
}

// holds reports whether a group is shared among exactly these.
func holds(group types.Group, holders []types.Holder) bool {
	if len(group.Members) != len(holders) {
		return false
	}
	for i, m := range group.Members {
		if m.Index != holders[i].Index || !bytes.Equal(m.IdentityDigest, holders[i].IdentityDigest) {
			return false
		}
	}
	return true
}

// begin opens a round.
func (k Keeper) begin(ctx sdk.Context, r types.Round) error {
	last, err := k.lastRound.Get(ctx)
	if err != nil && !errors.Is(err, collections.ErrNotFound) {
		return err
	}
	r.Id = last + 1
	r.Threshold = uint32(types.Threshold(len(r.Holders)))
	r.Started = ctx.BlockHeight()
	if err := errors.Join(k.lastRound.Set(ctx, r.Id), k.openRound.Set(ctx, r.Id)); err != nil {
		return err
	}
	return k.enter(ctx, r, types.PhasePrepare)
}

// enter writes a round that begins its next phase.
func (k Keeper) enter(ctx sdk.Context, r types.Round, phase types.Phase) error {
	r.Phase, r.PhaseHeight, r.PhaseTime = phase, ctx.BlockHeight(), ctx.BlockTime().Unix()
	if err := k.rounds.Set(ctx, r.Id, r); err != nil {
		return err
	}
	return ctx.EventManager().EmitTypedEvent(&types.EventRound{Round: r.Id, Epoch: r.Epoch, Kind: r.Kind, Phase: phase, Failure: r.Failure})
}

// fail ends a round without a sharing; the one before it stays in use.
func (k Keeper) fail(ctx sdk.Context, params types.Params, r types.Round, reason string) error {
	pause, err := k.pause.Get(ctx)
	if err != nil && !errors.Is(err, collections.ErrNotFound) {
		return err
	}
	pause.Until = ctx.BlockTime().Unix() + int64(params.RetrySeconds)<<min(pause.Failures, maxPauses)
	pause.Failures++
	return errors.Join(k.pause.Set(ctx, pause), k.abandon(ctx, r, reason))
}

// abandon ends a round that has become pointless; another may follow at once.
func (k Keeper) abandon(ctx sdk.Context, r types.Round, reason string) error {
	r.Failure = reason
	return errors.Join(k.openRound.Remove(ctx), k.forget(ctx, r.Id), k.enter(ctx, r, types.PhaseFailed))
}

// forget deletes what was sent in a round.
func (k Keeper) forget(ctx context.Context, round uint64) error {
	of := collections.NewPrefixedPairRange[uint64, uint32](round)
	return errors.Join(k.fresh.Clear(ctx, of), k.deals.Clear(ctx, of), k.complaints.Clear(ctx, of), k.answers.Clear(ctx, of))
}

func indices(holders []types.Holder) []uint32 {
	out := make([]uint32, len(holders))
	for i, h := range holders {
		out[i] = h.Index
	}
	return out
}

func members(g types.Group) []uint32 {
	out := make([]uint32, len(g.Members))
	for i, m := range g.Members {
		out[i] = m.Index
	}
	return out
}
