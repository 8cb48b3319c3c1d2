package node

import (
	"errors"
	"strings"
	"time"

	"cosmossdk.io/collections"
	errorsmod "cosmossdk.io/errors"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/kms/wire"
	"github.com/secretvm/secretvm/vm"
)

// Bounds of answers.
const (
	maxListed = 1000 // services
	maxLog    = 100  // grants of a service
	maxImages = 256  // of a service, the oldest; the gRPC interface pages through all
)

// freshness is how old the newest anchor may be by this node's clock before it
// says that it has none. After a restart the first block takes a moment.
const freshness = 60 * time.Second

// abciInfo takes an SDK error apart, and its code's words off the text.
func abciInfo(err error) (codespace string, number uint32, text string) {
	codespace, number, text = errorsmod.ABCIInfo(err, false)
	if code, ok := types.CodeOf(codespace, number); ok {
		text = strings.TrimSuffix(text, ": "+string(code))
	}
	return codespace, number, text
}

func (l *ledger) service(id string) (wire.Service, error) {
	ctx, err := l.Read()
	if err != nil {
		return wire.Service{}, err
	}
	s, err := l.KMS.Service(ctx, id)
	if err != nil {
		return wire.Service{}, basic(err)
	}
	return l.show(ctx, s)
}

// show adds to a service what belongs to it.
func (l *ledger) show(ctx sdk.Context, s types.Service) (wire.Service, error) {
	counters, err := l.KMS.Counters(ctx, s.Id)
	if err != nil {
		return wire.Service{}, err
	}
	images, err := l.KMS.Images(ctx, s.Id, maxImages)
	if err != nil {
		return wire.Service{}, err
	}
	first := make([]*types.Platform, len(images))
	for n, image := range images {
		rows, err := l.KMS.Platforms(ctx, s.Id, image.Index, 0, 1)
		if err != nil {
			return wire.Service{}, err
		}
		if len(rows) > 0 {
			first[n] = &rows[0]
		}
	}
	return viewService(s, counters, images, first, ctx.BlockTime().Unix()), nil
}

func (l *ledger) services() ([]wire.Service, error) {
	ctx, err := l.Read()
	if err != nil {
		return nil, err
	}
	found, err := l.KMS.Services(ctx, maxListed)
	if err != nil {
		return nil, err
	}
	out := []wire.Service{}
	for _, s := range found {
		shown, err := l.show(ctx, s)
		if err != nil {
			return nil, err
		}
		out = append(out, shown)
	}
	return out, nil
}

func (l *ledger) log(service string) (wire.Log, error) {
	out := wire.Log{Service: service, Grants: []wire.Grant{}, Refusals: []wire.Refused{}}
	ctx, err := l.Read()
	if err != nil {
		return out, err
	}
	if _, err := l.KMS.Service(ctx, service); err != nil {
		return out, basic(err)
	}
	grants, refusals, err := l.KMS.Log(ctx, service, maxLog)
	if err != nil {
		return out, err
	}
	for _, g := range grants {
		out.Grants = append(out.Grants, viewGrant(g))
	}
	for _, r := range refusals {
		out.Refusals = append(out.Refusals, viewRefusal(r))
	}
	return out, nil
}

// grant reads a committed grant.
func (l *ledger) grant(id vm.Hash) (types.Grant, error) {
	_, g, err := l.granted(id)
	return g, err
}

// granted reads a committed grant, and returns the state that it is in.
func (l *ledger) granted(id vm.Hash) (sdk.Context, types.Grant, error) {
	ctx, err := l.Read()
	if err != nil {
		return ctx, types.Grant{}, err
	}
	g, err := l.KMS.Grant(ctx, id[:])
	if errors.Is(err, collections.ErrNotFound) {
		return ctx, g, vm.Refuse(vm.CodePermission, "there is no grant %s on the ledger of this node", id)
	}
	return ctx, g, err
}

// complete is a grant with what the owner sealed for it.
func (l *ledger) complete(g types.Grant) (wire.Grant, error) {
	ctx, err := l.Read()
	if err != nil {
		return wire.Grant{}, err
	}
	env, registry, err := l.KMS.Granted(ctx, g)
	if err != nil {
		return wire.Grant{}, basic(err)
	}
	out := viewGrant(g)
	out.Env, out.Registry = viewSealed(env), viewSealed(registry)
	return out, nil
}

func (l *ledger) params() (types.Params, wire.Params, error) {
	ctx, err := l.Read()
	if err != nil {
		return types.Params{}, wire.Params{}, err
	}
	p, err := l.KMS.Params(ctx)
	if err != nil {
		return p, wire.Params{}, err
	}
	roots, err := p.Roots()
	return p, wire.Params{
		TrustRoots: anchors(roots), MaxBlockAge: p.MaxBlockAge, MaxBlockSeconds: p.MaxBlockAgeSeconds, GrantLifetime: p.GrantLifetimeSeconds,
	}, err
}

func (l *ledger) account(address string) (wire.Account, error) {
	b, err := l.Addresses.StringToBytes(address)
	if err != nil {
		return wire.Account{}, vm.Refuse(vm.CodeInvalid, "%.100q is no account of this chain", address)
	}
	ctx, err := l.Read()
	if err != nil {
		return wire.Account{}, err
	}
	a := l.Accounts.GetAccount(ctx, b)
	if a == nil {
		return wire.Account{}, vm.Refuse(vm.CodePermission, "account %s is not admitted to this chain", address)
	}
	return wire.Account{ChainID: l.ChainID(), Address: address, Number: a.GetAccountNumber(), Sequence: a.GetSequence()}, nil
}
