package committee

import (
	"context"
	"errors"
	"fmt"

	"cosmossdk.io/collections"
	abci "github.com/cometbft/cometbft/abci/types"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/secretvm/secretvm/kms/chain/x/committee/types"
)

// EndBlock moves the open round on, or opens the one that is due, and returns
// the validators that follow. A block in which nothing is due writes nothing.
func (k Keeper) EndBlock(ctx sdk.Context) ([]abci.ValidatorUpdate, error) {
	params, err := k.params.Get(ctx)
	if err != nil {
		return nil, err
	}
	round, open, err := k.OpenRound(ctx)
	if err != nil {
		return nil, err
	}
	if open {
		err = k.step(ctx, params, round)
	} else {
		err = k.schedule(ctx, params)
	}
	if err != nil {
		return nil, err
	}
	return k.updateValidators(ctx)
}

// OpenRound returns the round that is under way, if there is one.
func (k Keeper) OpenRound(ctx context.Context) (types.Round, bool, error) {
	id, err := k.openRound.Get(ctx)
	if errors.Is(err, collections.ErrNotFound) {
		return types.Round{}, false, nil
	}
	if err != nil {
		return types.Round{}, false, err
	}
	r, err := k.rounds.Get(ctx, id)
	return r, err == nil, err
}

// Round returns a round, or collections.ErrNotFound: rounds of an epoch before
// the one that made its present shares are forgotten.
func (k Keeper) Round(ctx context.Context, id uint64) (types.Round, error) {
	return k.rounds.Get(ctx, id)
}

// step ends the open round's phase when everybody has acted, or when its time
// is over.
func (k Keeper) step(ctx sdk.Context, params types.Params, r types.Round) error {
	t, err := k.Transcript(ctx, r.Id)
	if err != nil {
		return err
	}
	over := ctx.BlockHeight() >= r.PhaseHeight+int64(params.PhaseBlocks) && ctx.BlockTime().Unix() >= r.PhaseTime+int64(params.PhaseSeconds)
	switch r.Phase {
	case types.PhasePrepare:
		if over || len(t.Fresh) == len(r.Holders) {
			return k.prepared(ctx, r, t)
		}
	case types.PhaseDeal:
		if !over && len(t.Deals) < len(r.Dealers) {
			return nil
		}
		if need, err := k.need(ctx, r); err != nil || len(t.Deals) < need {
			return errors.Join(err, k.fail(ctx, params, r, fmt.Sprintf("%d of %d dealers dealt, and %d are needed", len(t.Deals), len(r.Dealers), need)))
		}
		return k.enter(ctx, r, types.PhaseComplain)
	case types.PhaseComplain:
		if !over && len(t.Complaints) < len(r.Holders) {
			return nil
		}
		if left, err := k.leaveOut(ctx, r, t.HasComplained); err != nil || left {
			return errors.Join(err, k.abandon(ctx, r, "a node that was to get its first share took no part"))
		}
		if len(t.Accused()) != 0 {
			return k.enter(ctx, r, types.PhaseJustify)
		}
		return k.finish(ctx, params, r, t)
	case types.PhaseJustify:
		if over || len(t.Answers) == len(t.Accused()) {
			return k.finish(ctx, params, r, t)
		}
	}
	return nil
}

// prepared seals the list of holders: under the keys that they showed, or, who
// is not there now, under that of its identity.
func (k Keeper) prepared(ctx sdk.Context, r types.Round, t Transcript) error {
	left, err := k.leaveOut(ctx, r, t.prepared)
	if err != nil || left {
		return errors.Join(err, k.abandon(ctx, r, "a node that was to get its first share took no part"))
	}
	for i, h := range r.Holders {
		if key, ok := t.Fresh[h.Index]; ok {
			r.Holders[i].SealingKey = key
		}
	}
	return k.enter(ctx, r, types.PhaseDeal)
}

// need is how many dealers a round needs: as many as may hold the secret
// together, so that at least one of them is honest, or the sharing before tells
// how many.
func (k Keeper) need(ctx sdk.Context, r types.Round) (int, error) {
	a, err := r.Arithmetic(ctx.ChainID())
	return a.Needed(), err
}

// finish makes the new sharing of the deals that stood, and what follows for
// the nodes.
func (k Keeper) finish(ctx sdk.Context, params types.Params, r types.Round, t Transcript) error {
	outcome, err := t.outcome(ctx.ChainID(), r)
	for _, f := range outcome.Faults {
		r.Faults = append(r.Faults, types.Fault{Dealer: f.Dealer, Lied: f.Lied, Reason: bounded(f.Reason)})
	}
	if err != nil {
		return k.fail(ctx, params, r, bounded(err.Error()))
	}
	r.Used = outcome.Used
	group, err := types.NewGroup(r.Epoch, r.Id, outcome.Commitments, r.Holders)
	if err != nil {
		return k.fail(ctx, params, r, bounded(err.Error()))
	}
	group.Height, group.Time = ctx.BlockHeight(), ctx.BlockTime().Unix()
	rules, err := k.recoveryNow(ctx)
	if err != nil {
		return err
	}
	if group.Recovery = rules.Current; group.Recovery == nil {
		if err := k.forgetBackups(ctx, r.Epoch); err != nil {
			return err
		}
	}
	if err := errors.Join(
		k.groups.Set(ctx, r.Epoch, group), k.openRound.Remove(ctx), k.pause.Remove(ctx), k.asked.Remove(ctx, r.Epoch),
		k.enter(ctx, r, types.PhaseDone), k.forgetBefore(ctx, r),
	); err != nil {
		return err
	}
	if r.Kind == types.RoundGenerate {
		event := &types.EventEpoch{Epoch: r.Epoch, State: "ready", GroupKey: group.Key()}
		if err := ctx.EventManager().EmitTypedEvent(event); err != nil {
			return err
		}
	}
	return k.settle(ctx)
}

// bounded cuts what goes to the ledger for people to read.
func bounded(s string) string { return s[:min(len(s), 512)] }

// forgetBefore deletes the rounds of the same epoch that led to nothing that is
// still in use.
func (k Keeper) forgetBefore(ctx context.Context, now types.Round) error {
	var old []uint64
	err := k.rounds.Walk(ctx, new(collections.Range[uint64]).EndExclusive(now.Id), func(id uint64, r types.Round) (bool, error) {
		if r.Epoch == now.Epoch {
			old = append(old, id)
		}
		return false, nil
	})
	for _, id := range old {
		err = errors.Join(err, k.forget(ctx, id), k.rounds.Remove(ctx, id))
	}
	return err
}
