package kms

import (
	"context"
	"errors"
	"slices"

	"cosmossdk.io/collections"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/kms/decision"
	"github.com/secretvm/secretvm/vm"
)

const (
	// rowsPerEntry is how many platforms one entry of the store holds.
	rowsPerEntry = 128
	// maxPerIdentity bounds in how many images the same machine may be, because
	// a release looks at each of them.
	maxPerIdentity = 16
)

// AddImage lets machines with these registers have the service's keys, once the
// upgrade delay is over; the first image of a service is active at once. What is
// there is never replaced: another set of registers is another image.
func (s server) AddImage(ctx context.Context, m *types.MsgAddImage) (*types.MsgAddImageResponse, error) {
	block := sdk.UnwrapSDKContext(ctx)
	now := block.BlockTime().Unix()
	service, err := s.ownService(block, m.Owner, m.Service)
	if err != nil {
		return nil, err
	}
	if err := frozen(service, "it never gets another image"); err != nil {
		return nil, err
	}
	counters, err := s.Counters(ctx, service.Id)
	if err != nil {
		return nil, err
	}
	if counters.Images >= types.MaxImages {
		return nil, types.Fail(vm.Refuse(vm.CodeTooLarge, "service %s has had %d images, which is the most there can be", m.Service, counters.Images))
	}
	counters.Platforms += uint64(len(m.Platforms))
	if counters.Platforms > types.MaxRows {
		return nil, types.Fail(vm.Refuse(vm.CodeTooLarge, "the images of service %s would have %d platforms, and there can be %d", m.Service, counters.Platforms, types.MaxRows))
	}
	delay, err := s.delay(block, service)
	if err != nil {
		return nil, err
	}
	image := types.Image{
		Index: counters.Images, Rtmr1: m.Rtmr1, Rtmr2: m.Rtmr2, Rtmr3: m.Rtmr3, Description: m.Description,
		RootHash: m.RootHash, Template: m.Template, Platforms: uint64(len(m.Platforms)),
		Height: block.BlockHeight(), AddedAt: now, ActiveAt: now + delay, AddedBy: m.Owner,
	}
	if err := s.writeImage(block, service.Id, image, m.Platforms); err != nil {
		return nil, err
	}
	counters.Images++
	return &types.MsgAddImageResponse{Image: image.Index, ActiveAt: image.ActiveAt}, errors.Join(
		s.counters.Set(ctx, service.Id, counters),
		s.services.Set(ctx, service.Id, service),
		s.record(block, service.Id, types.Change{By: m.Owner, Kind: types.ChangeAdd, Image: image.Index, Detail: image.Description, ActiveAt: image.ActiveAt}),
		block.EventManager().EmitTypedEvent(&types.EventImageAdded{
			Service: service.Id, Image: image.Index, Platforms: image.Platforms, Description: image.Description, ActiveAt: image.ActiveAt,
		}),
	)
}

// writeImage checks an image against itself and those that are there, and writes
// it with its platforms and the index that releases look into.
func (k Keeper) writeImage(block sdk.Context, service string, image types.Image, platforms []types.Platform) error {
	compared, err := image.Decision()
	if err != nil {
		return types.Fail(vm.Refuse(vm.CodeInvalid, "add image: %v", err))
	}
	if err := checkTemplate(compared, service, block.ChainID()); err != nil {
		return err
	}
	known, err := k.indexImage(block, service, compared, platforms)
	if err != nil {
		return err
	}
	for _, index := range known {
		old, err := k.images.Get(block, collections.Join(service, index))
		if err != nil {
			return err
		}
		if old.RevokedAt == 0 {
			return types.Fail(vm.Refuse(vm.CodeExists, "image %d of %s has all of these registers", index, service))
		}
	}
	return k.storeImage(block, service, image, platforms)
}

// storeImage writes an image and its platforms.
func (k Keeper) storeImage(ctx context.Context, service string, image types.Image, platforms []types.Platform) error {
	err := k.images.Set(ctx, collections.Join(service, image.Index), image)
	number := uint64(0)
	for rows := range slices.Chunk(platforms, rowsPerEntry) {
		err = errors.Join(err, k.platforms.Set(ctx, collections.Join3(service, image.Index, number), types.PlatformRows{Rows: rows}))
		number++
	}
	return err
}

// indexImage adds an image to the set of each of its identities, so that a
// release finds it by one read, and returns the images that had all of them.
func (k Keeper) indexImage(ctx context.Context, service string, image decision.Image, platforms []types.Platform) (known []uint64, err error) {
	seen := make(map[vm.Hash]bool, len(platforms))
	for row := range platforms {
		identity, err := image.Identity(platforms[row].Decision())
		if err != nil {
			return nil, types.Fail(vm.Refuse(vm.CodeInvalid, "add image: %v", err))
		}
		digest := identity.Digest(service)
		if seen[digest] {
			return nil, types.Fail(vm.Refuse(vm.CodeInvalid, "add image: platform %d is there twice", row))
		}
		seen[digest] = true
		of, err := orZero(k.identities.Get(ctx, digest[:]))
		if err != nil {
			return nil, err
		}
		if row == 0 {
			known = slices.Clone(of.Images)
		} else {
			known = slices.DeleteFunc(known, func(i uint64) bool { return !slices.Contains(of.Images, i) })
		}
		if len(of.Images) >= maxPerIdentity {
			if of.Images, err = k.notRevoked(ctx, service, of.Images); err != nil {
				return nil, err
			}
		}
		if len(of.Images) >= maxPerIdentity {
			return nil, types.Fail(vm.Refuse(vm.CodeTooLarge, "add image: platform %d is in %d images already, which is the most there can be", row, len(of.Images)))
		}
		of.Images = append(of.Images, image.Index)
		if err := k.identities.Set(ctx, digest[:], of); err != nil {
			return nil, err
		}
	}
	return known, nil
}

// notRevoked leaves out the images that are.
func (k Keeper) notRevoked(ctx context.Context, service string, images []uint64) (out []uint64, err error) {
	for _, index := range images {
		image, err := k.images.Get(ctx, collections.Join(service, index))
		if err != nil {
			return nil, err
		}
		if image.RevokedAt == 0 {
			out = append(out, index)
		}
	}
	return out, nil
}

// checkTemplate holds what explains RTMR3, where the owner gave it, to RTMR3
// itself: an explanation that does not explain would mislead later.
func checkTemplate(image decision.Image, service, chainID string) error {
	if image.Template == nil {
		return nil
	}
	cfg := *image.Template
	switch {
	case cfg.InstanceID != vm.NoInstance:
		return types.Fail(vm.Refuse(vm.CodeInvalid, "add image: a template has no instance").On("instance_id", cfg.InstanceID, vm.NoInstance))
	case cfg.Service != service:
		return types.Fail(vm.Refuse(vm.CodeInvalid, "add image: the template is another service's").On("service", cfg.Service, service))
	case cfg.KMS.ChainID != chainID:
		return types.Fail(vm.Refuse(vm.CodeInvalid, "add image: the template names another chain").On("kms.chain_id", cfg.KMS.ChainID, chainID))
	}
	if image.RTMR3 == (vm.Register{}) { // no platform is TDX
		return nil
	}
	want, err := decision.TemplateRegister(image.RootHash, cfg)
	if err != nil {
		return types.Fail(vm.Refuse(vm.CodeInvalid, "add image: %v", err))
	}
	if image.RTMR3 != want {
		return types.Fail(vm.Refuse(vm.CodeInvalid, "add image: rtmr3 does not follow from root_hash and template").On("rtmr3", image.RTMR3.String(), want.String()))
	}
	return nil
}

// RevokeImage ends at once and for ever that machines of an image get keys,
// also of one that is not active yet. The same registers can be added again, as
// another image, which waits.
func (s server) RevokeImage(ctx context.Context, m *types.MsgRevokeImage) (*types.MsgRevokeImageResponse, error) {
	block := sdk.UnwrapSDKContext(ctx)
	service, err := s.ownService(block, m.Owner, m.Service)
	if err != nil {
		return nil, err
	}
	image, err := s.Image(ctx, service.Id, m.Image)
	if err != nil {
		return nil, err
	}
	if image.RevokedAt != 0 {
		return nil, types.Fail(vm.Refuse(vm.CodeExists, "image %d of %s is revoked already", m.Image, service.Id))
	}
	image.RevokedAt, image.Revocation = block.BlockTime().Unix(), m.Reason
	return &types.MsgRevokeImageResponse{}, errors.Join(
		s.images.Set(ctx, collections.Join(service.Id, m.Image), image),
		s.record(block, service.Id, types.Change{By: m.Owner, Kind: types.ChangeRevoke, Image: m.Image, Detail: m.Reason}),
		block.EventManager().EmitTypedEvent(&types.EventImageRevoked{Service: service.Id, Image: m.Image, Reason: m.Reason}),
	)
}

// Image returns an image; the error is a refusal with CodeInvalid when there is
// none.
func (k Keeper) Image(ctx context.Context, service string, index uint64) (types.Image, error) {
	image, err := k.images.Get(ctx, collections.Join(service, index))
	if errors.Is(err, collections.ErrNotFound) {
		return image, types.Fail(vm.Refuse(vm.CodeInvalid, "service %.200q has no image %d", service, index))
	}
	return image, err
}

// Images returns a service's images, oldest first, up to limit.
func (k Keeper) Images(ctx context.Context, service string, limit int) ([]types.Image, error) {
	var out []types.Image
	of := collections.NewPrefixedPairRange[string, uint64](service)
	err := k.images.Walk(ctx, of, func(_ collections.Pair[string, uint64], i types.Image) (bool, error) {
		out = append(out, i)
		return len(out) >= limit, nil
	})
	return out, err
}

// Platforms returns rows of an image, from the first wanted on.
func (k Keeper) Platforms(ctx context.Context, service string, image, first uint64, limit int) ([]types.Platform, error) {
	var out []types.Platform
	for number := first / rowsPerEntry; len(out) < limit; number++ {
		entry, err := k.platforms.Get(ctx, collections.Join3(service, image, number))
		if errors.Is(err, collections.ErrNotFound) {
			break
		}
		if err != nil {
			return nil, err
		}
		rows := entry.Rows
		if skip := first - min(first, number*rowsPerEntry); skip > 0 {
			rows = rows[min(skip, uint64(len(rows))):]
		}
		out = append(out, rows[:min(len(rows), limit-len(out))]...)
	}
	return out, nil
}
