package kms

import (
	"context"
	"errors"
	"fmt"

	"cosmossdk.io/collections"

	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
)

// InitGenesis writes the state of height 0: that of a new chain, or all that
// ExportGenesis found. The index of images is made anew.
func (k Keeper) InitGenesis(ctx context.Context, g types.GenesisState) error {
	if err := g.Validate(); err != nil {
		return err
	}
	if err := k.params.Set(ctx, g.Params); err != nil {
		return err
	}
	for _, anchor := range g.Anchors {
		if err := errors.Join(k.anchors.Set(ctx, anchor.Height, anchor), k.newest.Set(ctx, anchor)); err != nil {
			return err
		}
	}
	for i := range g.Services {
		if err := k.importService(ctx, &g.Services[i]); err != nil {
			return fmt.Errorf("write service %s: %w", g.Services[i].Service.Id, err)
		}
	}
	return nil
}

func (k Keeper) importService(ctx context.Context, s *types.ServiceState) error {
	id := s.Service.Id
	err := errors.Join(
		k.services.Set(ctx, id, s.Service),
		k.owned.Set(ctx, collections.Join(s.Service.Owner, id)),
	)
	if s.Counters != (types.Counters{}) {
		err = errors.Join(err, k.counters.Set(ctx, id, s.Counters))
	}
	for i := range s.Images {
		image := &s.Images[i]
		compared, wrong := image.Image.Decision()
		if wrong != nil {
			return wrong
		}
		_, wrong = k.indexImage(ctx, id, compared, image.Platforms)
		err = errors.Join(err, wrong, k.storeImage(ctx, id, image.Image, image.Platforms))
	}
	for name, slot := range sealedOf(s) {
		err = errors.Join(err, k.sealed.Set(ctx, collections.Join(id, name), *slot))
	}
	for _, change := range s.Changes {
		err = errors.Join(err, k.changes.Set(ctx, collections.Join(id, change.Seq), change))
	}
	for number, grant := range s.Grants {
		err = errors.Join(err, k.grants.Set(ctx, grant.Id, grant), k.log.Set(ctx, collections.Join(id, uint64(number)), grant.Id))
	}
	for _, refusal := range s.Refusals {
		err = errors.Join(err, k.refusals.Set(ctx, collections.Join(id, refusal.Seq), refusal))
	}
	for _, instance := range s.Instances {
		err = errors.Join(err, k.instances.Set(ctx, collections.Join(id, instance.VmUid), instance))
	}
	return err
}

// sealedOf yields what is sealed, in the order of the names.
func sealedOf(s *types.ServiceState) func(yield func(string, *types.SealedSlot) bool) {
	return func(yield func(string, *types.SealedSlot) bool) {
		if s.Env != nil && !yield(types.SealedEnv, s.Env) {
			return
		}
		if s.Registry != nil {
			yield(types.SealedRegistry, s.Registry)
		}
	}
}

// ExportGenesis reads all of the module's state, in the order of its keys.
func (k Keeper) ExportGenesis(ctx context.Context) (g types.GenesisState, err error) {
	if g.Params, err = k.params.Get(ctx); err != nil {
		return g, err
	}
	err = k.anchors.Walk(ctx, nil, func(_ int64, a types.Anchor) (bool, error) {
		g.Anchors = append(g.Anchors, a)
		return false, nil
	})
	if err != nil {
		return g, err
	}
	err = k.services.Walk(ctx, nil, func(_ string, s types.Service) (bool, error) {
		state, err := k.exportService(ctx, s)
		g.Services = append(g.Services, state)
		return false, err
	})
	return g, err
}

func (k Keeper) exportService(ctx context.Context, service types.Service) (s types.ServiceState, err error) {
	s.Service = service
	if s.Counters, err = k.Counters(ctx, service.Id); err != nil {
		return s, err
	}
	images, err := k.Images(ctx, service.Id, types.MaxImages)
	if err != nil {
		return s, err
	}
	for _, image := range images {
		rows, err := k.Platforms(ctx, service.Id, image.Index, 0, types.MaxPlatforms)
		if err != nil {
			return s, err
		}
		s.Images = append(s.Images, types.ImageState{Image: image, Platforms: rows})
	}
	for _, sealed := range []struct {
		name string
		into **types.SealedSlot
	}{{types.SealedEnv, &s.Env}, {types.SealedRegistry, &s.Registry}} {
		slot, err := k.slot(ctx, service.Id, sealed.name)
		if err != nil {
			return s, err
		}
		if slot.Current != nil || slot.Pending != nil {
			*sealed.into = &slot
		}
	}
	of := collections.NewPrefixedPairRange[string, uint64](service.Id)
	err = errors.Join(
		k.changes.Walk(ctx, of, func(_ collections.Pair[string, uint64], c types.Change) (bool, error) {
			s.Changes = append(s.Changes, c)
			return false, nil
		}),
		k.log.Walk(ctx, of, func(_ collections.Pair[string, uint64], id []byte) (bool, error) {
			grant, err := k.grants.Get(ctx, id)
			s.Grants = append(s.Grants, grant)
			return false, err
		}),
		k.refusals.Walk(ctx, of, func(_ collections.Pair[string, uint64], r types.Refusal) (bool, error) {
			s.Refusals = append(s.Refusals, r)
			return false, nil
		}),
		k.instances.Walk(ctx, collections.NewPrefixedPairRange[string, string](service.Id), func(_ collections.Pair[string, string], i types.Instance) (bool, error) {
			s.Instances = append(s.Instances, i)
			return false, nil
		}),
	)
	return s, err
}
