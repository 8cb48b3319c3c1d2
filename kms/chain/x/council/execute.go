package council

import (
	"cosmossdk.io/collections"
	errorsmod "cosmossdk.io/errors"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/secretvm/secretvm/kms/chain/x/council/types"
	"github.com/secretvm/secretvm/vm"
)

// maxExpired bounds how many proposals one block writes down as expired.
const maxExpired = 16

// maxReason bounds the reason of a failure, in characters.
const maxReason = 512

// depth is the context's key of how many executions the current one is within.
type depth struct{}

// execute closes an approved proposal and runs its messages, all or none. It is
// closed first: its own messages must not find it open.
func (s server) execute(ctx sdk.Context, p *types.Proposal) error {
	within, _ := ctx.Value(depth{}).(int)
	if within >= types.MaxDepth {
		return fail(vm.CodeInvalid, "proposal %d would be executed within %d others", p.Id, within)
	}
	p.Status = types.STATUS_EXECUTED
	if err := s.leave(ctx, p); err != nil {
		return err
	}
	inner, write := ctx.CacheContext()
	if p.Failure = s.run(inner.WithValue(depth{}, within+1), p); p.Failure == nil {
		write()
	} else {
		p.Status = types.STATUS_FAILED
		if err := s.proposals.Set(ctx, p.Id, *p); err != nil {
			return err
		}
	}
	return closed(ctx, p)
}

// run executes the messages in order and stops at the first that fails. Running
// out of gas ends the whole transaction, and so leaves the proposal open.
func (s server) run(ctx sdk.Context, p *types.Proposal) *types.Failure {
	msgs, ok := types.Msgs(p.Messages)
	if !ok {
		return failure(0, fail(vm.CodeInternal, "the messages cannot be read"))
	}
	for i, msg := range msgs {
		handler := s.router.Handler(msg)
		if handler == nil {
			return failure(i, fail(vm.CodeInvalid, "nothing executes %s", sdk.MsgTypeURL(msg)))
		}
		result, err := handler(ctx, msg)
		if err != nil {
			return failure(i, err)
		}
		ctx.EventManager().EmitEvents(result.GetEvents())
	}
	return nil
}

// failure is err as state holds it. Errors that no module registered have no
// text: it could differ between nodes.
func failure(message int, err error) *types.Failure {
	codespace, code, text := errorsmod.ABCIInfo(err, false)
	return &types.Failure{Message: uint32(message), Codespace: codespace, Code: code, Reason: printable(text)}
}

// printable keeps what cannot act upon a terminal, up to maxReason characters.
func printable(s string) string {
	out := make([]rune, 0, min(len(s), maxReason))
	for _, r := range s {
		if len(out) == maxReason {
			break
		}
		if r < 0x20 || r >= 0x7f && r < 0xa0 || r == '\ufffd' {
			r = '?'
		}
		out = append(out, r)
	}
	return string(out)
}

// end closes a proposal that is not executed.
func (k Keeper) end(ctx sdk.Context, p *types.Proposal, status types.Status, why *types.Failure) error {
	p.Status, p.Failure = status, why
	if err := k.leave(ctx, p); err != nil {
		return err
	}
	return closed(ctx, p)
}

func closed(ctx sdk.Context, p *types.Proposal) error {
	return ctx.EventManager().EmitTypedEvent(&types.EventClosed{Proposal: p.Id, Council: p.Council, Status: p.Status, Failure: p.Failure})
}

// leave writes a proposal that is open no more. When the council has too many
// closed ones, its oldest is forgotten before.
func (k Keeper) leave(ctx sdk.Context, p *types.Proposal) error {
	c, err := k.Council(ctx, p.Council)
	if err != nil {
		return err
	}
	if c.Closed >= types.MaxClosed {
		if err := k.forget(ctx, c.Address); err != nil {
			return err
		}
		c.Closed--
	}
	c.Open--
	c.Closed++
	if err := k.councils.Set(ctx, c.Address, c); err != nil {
		return err
	}
	p.DecidedHeight, p.DecidedTime = ctx.BlockHeight(), ctx.BlockTime().Unix()
	if err := k.proposals.Set(ctx, p.Id, *p); err != nil {
		return err
	}
	if err := k.open.Remove(ctx, collections.Join(p.Council, p.Id)); err != nil {
		return err
	}
	return k.expiring.Remove(ctx, collections.Join(p.Expires, p.Id))
}

// forget removes a council's oldest closed proposal.
func (k Keeper) forget(ctx sdk.Context, council string) error {
	var oldest *uint64
	err := k.ofCouncil.Walk(ctx, collections.NewPrefixedPairRange[string, uint64](council), func(key collections.Pair[string, uint64]) (bool, error) {
		open, err := k.open.Has(ctx, key)
		if err != nil || open {
			return false, err
		}
		id := key.K2()
		oldest = &id
		return true, nil
	})
	if err != nil || oldest == nil {
		return err
	}
	if err := k.ofCouncil.Remove(ctx, collections.Join(council, *oldest)); err != nil {
		return err
	}
	return k.proposals.Remove(ctx, *oldest)
}

// EndBlock writes down which proposals have expired. It changes nothing in a
// block in which none has, so that an idle chain stays idle.
func (k Keeper) EndBlock(ctx sdk.Context) error {
	var expired []uint64
	now := ctx.BlockTime().Unix()
	err := k.expiring.Walk(ctx, nil, func(key collections.Pair[int64, uint64]) (bool, error) {
		if key.K1() > now {
			return true, nil
		}
		expired = append(expired, key.K2())
		return len(expired) >= maxExpired, nil
	})
	if err != nil {
		return err
	}
	for _, id := range expired {
		p, err := k.Proposal(ctx, id)
		if err != nil {
			return err
		}
		if err := k.end(ctx, &p, types.STATUS_EXPIRED, nil); err != nil {
			return err
		}
	}
	return nil
}
