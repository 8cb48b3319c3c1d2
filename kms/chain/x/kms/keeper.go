package kms

import (
	"context"
	"errors"
	"fmt"

	"cosmossdk.io/collections"
	"cosmossdk.io/core/store"

	"github.com/cosmos/cosmos-sdk/codec"

	"github.com/secretvm/secretvm/attest"
	committee "github.com/secretvm/secretvm/kms/chain/x/committee/types"
	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/vm"
)

// ConsensusVersion is raised with every change of what the module keeps or
// computes, for which the chain makes an upgrade.
const ConsensusVersion = 1

// Keeper reads and writes the module's state.
type Keeper struct {
	verifier   *attest.Verifier // remembers what was genuine; never changes a verdict
	committee  Committee
	params     collections.Item[types.Params]
	newest     collections.Item[types.Anchor]                                                  // the newest anchor
	anchors    collections.Map[int64, types.Anchor]                                            // by height
	services   collections.Map[string, types.Service]                                          // by id
	owned      collections.KeySet[collections.Pair[string, string]]                            // owner, service
	counters   collections.Map[string, types.Counters]                                         // by service
	images     collections.Map[collections.Pair[string, uint64], types.Image]                  // by service, index
	platforms  collections.Map[collections.Triple[string, uint64, uint64], types.PlatformRows] // by service, image, number
	identities collections.Map[[]byte, types.ImageSet]                                         // by decision.Identity.Digest
	sealed     collections.Map[collections.Pair[string, string], types.SealedSlot]             // by service, name
	changes    collections.Map[collections.Pair[string, uint64], types.Change]                 // by service, number
	grants     collections.Map[[]byte, types.Grant]                                            // by id
	log        collections.Map[collections.Pair[string, uint64], []byte]                       // grant ids by service, number
	refusals   collections.Map[collections.Pair[string, uint64], types.Refusal]                // by service, number
	instances  collections.Map[collections.Pair[string, string], types.Instance]               // by service, vm_uid
}

// Committee is what the module asks of x/committee: how epochs' secrets are
// shared, who may relay for machines, and who governs. Errors of Group are
// refusals.
type Committee interface {
	Group(ctx context.Context, epoch uint64) (committee.Group, error)
	Groups(ctx context.Context) ([]committee.Group, error)
	Relay(ctx context.Context, account string) (committee.Node, bool, error)
	Params(ctx context.Context) (committee.Params, error)
}

// NewKeeper opens the module's store.
func NewKeeper(cdc codec.BinaryCodec, service store.KVStoreService, nodes Committee) (Keeper, error) {
	sb := collections.NewSchemaBuilder(service)
	prefix := func(p types.Prefix) collections.Prefix { return collections.NewPrefix(int(p)) }
	number := collections.PairKeyCodec(collections.StringKey, collections.Uint64Key)
	text := collections.PairKeyCodec(collections.StringKey, collections.StringKey)
	rows := collections.TripleKeyCodec(collections.StringKey, collections.Uint64Key, collections.Uint64Key)
	k := Keeper{
		committee:  nodes,
		verifier:   attest.NewVerifier(attest.CacheOptions{}),
		params:     collections.NewItem(sb, prefix(types.PrefixParams), "params", codec.CollValue[types.Params](cdc)),
		newest:     collections.NewItem(sb, prefix(types.PrefixNewest), "newest_anchor", codec.CollValue[types.Anchor](cdc)),
		anchors:    collections.NewMap(sb, prefix(types.PrefixAnchors), "anchors", collections.Int64Key, codec.CollValue[types.Anchor](cdc)),
		services:   collections.NewMap(sb, prefix(types.PrefixServices), "services", collections.StringKey, codec.CollValue[types.Service](cdc)),
		owned:      collections.NewKeySet(sb, prefix(types.PrefixOwned), "owned", text),
		counters:   collections.NewMap(sb, prefix(types.PrefixCounters), "counters", collections.StringKey, codec.CollValue[types.Counters](cdc)),
		images:     collections.NewMap(sb, prefix(types.PrefixImages), "images", number, codec.CollValue[types.Image](cdc)),
		platforms:  collections.NewMap(sb, prefix(types.PrefixPlatforms), "platforms", rows, codec.CollValue[types.PlatformRows](cdc)),
		identities: collections.NewMap(sb, prefix(types.PrefixIdentities), "identities", collections.BytesKey, codec.CollValue[types.ImageSet](cdc)),
		sealed:     collections.NewMap(sb, prefix(types.PrefixSealed), "sealed", text, codec.CollValue[types.SealedSlot](cdc)),
		changes:    collections.NewMap(sb, prefix(types.PrefixChanges), "changes", number, codec.CollValue[types.Change](cdc)),
		grants:     collections.NewMap(sb, prefix(types.PrefixGrants), "grants", collections.BytesKey, codec.CollValue[types.Grant](cdc)),
		log:        collections.NewMap(sb, prefix(types.PrefixLog), "log", number, collections.BytesValue),
		refusals:   collections.NewMap(sb, prefix(types.PrefixRefusals), "refusals", number, codec.CollValue[types.Refusal](cdc)),
		instances:  collections.NewMap(sb, prefix(types.PrefixInstances), "instances", text, codec.CollValue[types.Instance](cdc)),
	}
	if _, err := sb.Build(); err != nil {
		return k, fmt.Errorf("open the store of x/kms: %w", err)
	}
	return k, nil
}

// Params returns the chain's parameters.
func (k Keeper) Params(ctx context.Context) (types.Params, error) { return k.params.Get(ctx) }

// Service returns a service; the error is a vm.Refusal with CodeNoService when
// there is none.
func (k Keeper) Service(ctx context.Context, id string) (types.Service, error) {
	s, err := k.services.Get(ctx, id)
	if errors.Is(err, collections.ErrNotFound) {
		return s, types.Fail(noService(id))
	}
	return s, err
}

func noService(id string) *vm.Refusal {
	return vm.Refuse(vm.CodeNoService, "no service %.200q on this chain", id)
}

// Counters returns a service's numbers; they are zero before anything was
// counted.
func (k Keeper) Counters(ctx context.Context, service string) (types.Counters, error) {
	return orZero(k.counters.Get(ctx, service))
}

// Services returns up to limit services, in the order of their ids.
func (k Keeper) Services(ctx context.Context, limit int) ([]types.Service, error) {
	var out []types.Service
	err := k.services.Walk(ctx, nil, func(_ string, s types.Service) (bool, error) {
		out = append(out, s)
		return len(out) >= limit, nil
	})
	return out, err
}

// Grant returns a grant, or collections.ErrNotFound.
func (k Keeper) Grant(ctx context.Context, id []byte) (types.Grant, error) {
	return k.grants.Get(ctx, id)
}

// Log returns a service's newest grants, up to limit, and its refusals, newest
// first both.
func (k Keeper) Log(ctx context.Context, service string, limit int) (grants []types.Grant, refusals []types.Refusal, err error) {
	of := collections.NewPrefixedPairRange[string, uint64](service).Descending()
	err = k.log.Walk(ctx, of, func(_ collections.Pair[string, uint64], id []byte) (bool, error) {
		g, err := k.grants.Get(ctx, id)
		grants = append(grants, g)
		return len(grants) >= limit, err
	})
	if err != nil {
		return nil, nil, err
	}
	refusals, err = k.recentRefusals(ctx, service)
	return grants, refusals, err
}

// recentRefusals returns what the ledger keeps, newest first.
func (k Keeper) recentRefusals(ctx context.Context, service string) (out []types.Refusal, err error) {
	of := collections.NewPrefixedPairRange[string, uint64](service).Descending()
	err = k.refusals.Walk(ctx, of, func(_ collections.Pair[string, uint64], r types.Refusal) (bool, error) {
		out = append(out, r)
		return false, nil
	})
	return out, err
}

// Instance returns what is known of a machine; the zero value when nothing is.
func (k Keeper) Instance(ctx context.Context, service, uid string) (types.Instance, error) {
	return orZero(k.instances.Get(ctx, collections.Join(service, uid)))
}

// orZero turns what is not there into nothing.
func orZero[V any](v V, err error) (V, error) {
	if errors.Is(err, collections.ErrNotFound) {
		var zero V
		return zero, nil
	}
	return v, err
}
