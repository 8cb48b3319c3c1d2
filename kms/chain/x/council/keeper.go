package council

import (
	"context"
	"errors"
	"fmt"

	"cosmossdk.io/collections"
	"cosmossdk.io/core/address"
	"cosmossdk.io/core/store"

	"github.com/cosmos/cosmos-sdk/codec"
	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/secretvm/secretvm/kms/chain/x/council/types"
	kmstypes "github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/vm"
)

// ConsensusVersion is raised with every change of what the module keeps or
// computes, for which the chain makes an upgrade.
const ConsensusVersion = 1

// Accounts is what the module needs of x/auth.
type Accounts interface {
	HasAccount(ctx context.Context, address sdk.AccAddress) bool
	NewAccountWithAddress(ctx context.Context, address sdk.AccAddress) sdk.AccountI
	SetAccount(ctx context.Context, account sdk.AccountI)
	AddressCodec() address.Codec
}

// Router finds what executes a message: baseapp's MsgServiceRouter.
type Router interface {
	Handler(msg sdk.Msg) func(ctx sdk.Context, msg sdk.Msg) (*sdk.Result, error)
}

// Keeper reads and writes the module's state.
type Keeper struct {
	cdc      codec.Codec
	accounts Accounts
	router   Router

	nextCouncil  collections.Sequence
	nextProposal collections.Sequence
	councils     collections.Map[string, types.Council]               // by address
	members      collections.KeySet[collections.Pair[string, string]] // member, council
	proposals    collections.Map[uint64, types.Proposal]              // by id
	ofCouncil    collections.KeySet[collections.Pair[string, uint64]] // council, proposal
	open         collections.KeySet[collections.Pair[string, uint64]] // council, open proposal
	expiring     collections.KeySet[collections.Pair[int64, uint64]]  // Unix seconds, open proposal
}

// The prefixes of the store, part of the state's format. CouncilPrefix and
// ProposalPrefix are those that proofs are about.
var (
	CouncilPrefix  = collections.NewPrefix(2)
	ProposalPrefix = collections.NewPrefix(4)
)

// NewKeeper opens the module's store.
func NewKeeper(cdc codec.Codec, service store.KVStoreService, accounts Accounts, router Router) (Keeper, error) {
	sb := collections.NewSchemaBuilder(service)
	byCouncil := collections.PairKeyCodec(collections.StringKey, collections.Uint64Key)
	k := Keeper{
		cdc: cdc, accounts: accounts, router: router,
		nextCouncil:  collections.NewSequence(sb, collections.NewPrefix(0), "next_council"),
		nextProposal: collections.NewSequence(sb, collections.NewPrefix(1), "next_proposal"),
		councils:     collections.NewMap(sb, CouncilPrefix, "councils", collections.StringKey, codec.CollValue[types.Council](cdc)),
		members:      collections.NewKeySet(sb, collections.NewPrefix(3), "members", collections.PairKeyCodec(collections.StringKey, collections.StringKey)),
		proposals:    collections.NewMap(sb, ProposalPrefix, "proposals", collections.Uint64Key, codec.CollValue[types.Proposal](cdc)),
		ofCouncil:    collections.NewKeySet(sb, collections.NewPrefix(5), "proposals_of_council", byCouncil),
		open:         collections.NewKeySet(sb, collections.NewPrefix(6), "open_proposals", byCouncil),
		expiring:     collections.NewKeySet(sb, collections.NewPrefix(7), "expiring_proposals", collections.PairKeyCodec(collections.Int64Key, collections.Uint64Key)),
	}
	if _, err := sb.Build(); err != nil {
		return k, fmt.Errorf("open the store of x/council: %w", err)
	}
	return k, nil
}

// Council returns a council; the error is a refusal when there is none.
func (k Keeper) Council(ctx context.Context, address string) (types.Council, error) {
	c, err := k.councils.Get(ctx, address)
	if errors.Is(err, collections.ErrNotFound) {
		return c, fail(vm.CodeInvalid, "there is no council %.100q", address)
	}
	return c, err
}

// Proposal returns a proposal; the error is a refusal when there is none.
func (k Keeper) Proposal(ctx context.Context, id uint64) (types.Proposal, error) {
	p, err := k.proposals.Get(ctx, id)
	if errors.Is(err, collections.ErrNotFound) {
		return p, fail(vm.CodeInvalid, "there is no proposal %d", id)
	}
	return p, err
}

// Vouch gives an account to an address that has none, on the word of by.
func (k Keeper) Vouch(ctx sdk.Context, bech32, by string) error { return k.admit(ctx, bech32, by) }

// admit gives an account to an address that has none and is no council's.
func (k Keeper) admit(ctx sdk.Context, bech32, by string) error {
	b, err := k.accounts.AddressCodec().StringToBytes(bech32)
	if err != nil {
		return fail(vm.CodeInvalid, "not an account of this chain: %.100q", bech32)
	}
	if k.accounts.HasAccount(ctx, b) {
		return nil
	}
	if has, err := k.councils.Has(ctx, bech32); has || err != nil {
		return err
	}
	k.accounts.SetAccount(ctx, k.accounts.NewAccountWithAddress(ctx, b))
	return ctx.EventManager().EmitTypedEvent(&types.EventAdmitted{Address: bech32, By: by})
}

// fail is the error with which a transaction fails.
func fail(code vm.Code, format string, args ...any) error {
	return kmstypes.Fail(vm.Refuse(code, format, args...))
}
