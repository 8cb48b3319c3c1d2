package kms

import (
	"context"
	"errors"

	"cosmossdk.io/collections"

	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/kms/decision"
)

// compared is how many of a service's newest images a refusal is explained by.
const compared = 32

// known are a service's images as a decision looks into them.
type known struct {
	Keeper
	ctx     context.Context
	service string
}

var _ decision.Images = known{}

// Match reads the index: one entry for each release, whatever there is.
func (k known) Match(found decision.Identity) (out []decision.Image, err error) {
	digest := found.Digest(k.service)
	of, err := k.identities.Get(k.ctx, digest[:])
	if errors.Is(err, collections.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, index := range of.Images {
		stored, err := k.images.Get(k.ctx, collections.Join(k.service, index))
		if err != nil {
			return nil, err
		}
		image, err := stored.Decision()
		if err != nil {
			return nil, err
		}
		out = append(out, image)
	}
	return out, nil
}

// Newest returns the newest few.
func (k known) Newest() (out []decision.Image, err error) {
	of := collections.NewPrefixedPairRange[string, uint64](k.service).Descending()
	err = k.images.Walk(k.ctx, of, func(_ collections.Pair[string, uint64], stored types.Image) (bool, error) {
		image, err := stored.Decision()
		out = append(out, image)
		return len(out) >= compared, err
	})
	return out, err
}

// Platforms returns all rows of an image.
func (k known) Platforms(image uint64) ([]decision.Platform, error) {
	rows, err := k.Keeper.Platforms(k.ctx, k.service, image, 0, types.MaxPlatforms)
	out := make([]decision.Platform, len(rows))
	for i := range rows {
		out[i] = rows[i].Decision()
	}
	return out, err
}
