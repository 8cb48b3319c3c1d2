package kms

import (
	"context"
	"errors"
	"fmt"

	"cosmossdk.io/collections"
	"cosmossdk.io/core/store"

	"github.com/cosmos/cosmos-sdk/codec"

	committee "github.com/secretvm/secretvm/kms/chain/x/committee/types"
	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/vm"
)

// maxImages bounds how many images one service may have, because a release is
// compared with each of them.
const maxImages = 256

// Keeper reads and writes the module's state.
type Keeper struct {
	committee Committee
	params    collections.Item[types.Params]
	newest    collections.Item[types.Anchor]                                   // the newest anchor
	anchors   collections.Map[int64, types.Anchor]                             // by height
	services  collections.Map[string, types.Service]                           // by id
	images    collections.Map[collections.Pair[string, uint64], types.Image]   // by service, index
	grants    collections.Map[[]byte, types.Grant]                             // by id
	log       collections.Map[collections.Pair[string, uint64], []byte]        // grant ids by service, number
	refusals  collections.Map[collections.Pair[string, uint64], types.Refusal] // by service, number
	instances collections.Map[collections.Pair[string, string], types.Instance]
}

// Committee is what the module asks of x/committee: how an epoch's secret is
// shared, and who may relay for machines. Errors of Group are refusals.
type Committee interface {
	Group(ctx context.Context, epoch uint64) (committee.Group, error)
	Relay(ctx context.Context, account string) (committee.Node, bool, error)
}

// NewKeeper opens the module's store. The prefixes are part of the state's
// format.
func NewKeeper(cdc codec.BinaryCodec, service store.KVStoreService, nodes Committee) (Keeper, error) {
	sb := collections.NewSchemaBuilder(service)
	serviceAndNumber := collections.PairKeyCodec(collections.StringKey, collections.Uint64Key)
	k := Keeper{
		committee: nodes,
		params:    collections.NewItem(sb, collections.NewPrefix(0), "params", codec.CollValue[types.Params](cdc)),
		newest:    collections.NewItem(sb, collections.NewPrefix(2), "newest_anchor", codec.CollValue[types.Anchor](cdc)),
		anchors:   collections.NewMap(sb, collections.NewPrefix(3), "anchors", collections.Int64Key, codec.CollValue[types.Anchor](cdc)),
		services:  collections.NewMap(sb, collections.NewPrefix(4), "services", collections.StringKey, codec.CollValue[types.Service](cdc)),
		images:    collections.NewMap(sb, collections.NewPrefix(5), "images", serviceAndNumber, codec.CollValue[types.Image](cdc)),
		grants:    collections.NewMap(sb, collections.NewPrefix(6), "grants", collections.BytesKey, codec.CollValue[types.Grant](cdc)),
		log:       collections.NewMap(sb, collections.NewPrefix(7), "log", serviceAndNumber, collections.BytesValue),
		refusals:  collections.NewMap(sb, collections.NewPrefix(8), "refusals", serviceAndNumber, codec.CollValue[types.Refusal](cdc)),
		instances: collections.NewMap(sb, collections.NewPrefix(9), "instances", collections.PairKeyCodec(collections.StringKey, collections.StringKey), codec.CollValue[types.Instance](cdc)),
	}
	if _, err := sb.Build(); err != nil {
		return k, fmt.Errorf("open the store of x/kms: %w", err)
	}
	return k, nil
}

// Params returns the genesis parameters.
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

// Services returns up to limit services, in the order of their ids.
func (k Keeper) Services(ctx context.Context, limit int) ([]types.Service, error) {
	var out []types.Service
	err := k.services.Walk(ctx, nil, func(_ string, s types.Service) (bool, error) {
		out = append(out, s)
		return len(out) >= limit, nil
	})
	return out, err
}

// Images returns a service's images, oldest first.
func (k Keeper) Images(ctx context.Context, service string) ([]types.Image, error) {
	var out []types.Image
	of := collections.NewPrefixedPairRange[string, uint64](service)
	err := k.images.Walk(ctx, of, func(_ collections.Pair[string, uint64], i types.Image) (bool, error) {
		out = append(out, i)
		return false, nil
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
	err = k.refusals.Walk(ctx, of, func(_ collections.Pair[string, uint64], r types.Refusal) (bool, error) {
		refusals = append(refusals, r)
		return false, nil
	})
	return grants, refusals, err
}

// Instance returns what is known of a machine; the zero value when nothing is.
func (k Keeper) Instance(ctx context.Context, service, uid string) (types.Instance, error) {
	i, err := k.instances.Get(ctx, collections.Join(service, uid))
	if errors.Is(err, collections.ErrNotFound) {
		return types.Instance{}, nil
	}
	return i, err
}
