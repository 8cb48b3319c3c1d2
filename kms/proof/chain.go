package proof

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cometbft/cometbft/light"
	cmttypes "github.com/cometbft/cometbft/types"

	"github.com/secretvm/secretvm/vm"
)

// Chain is a chain as its genesis defines it, and somebody who is asked for its
// blocks and believed in nothing.
type Chain struct {
	Genesis *cmttypes.GenesisDoc
	// Trusted is a header that the caller knows to be the chain's, to begin from;
	// nil: the first block, whose validators genesis names.
	Trusted *Header
	// Fetch returns the block of a height, 0 for the newest.
	Fetch func(ctx context.Context, height int64) (*cmttypes.LightBlock, error)
	Now   time.Time
}

// Header names a block.
type Header struct {
	Height int64   `json:"height"`
	Hash   vm.Hash `json:"hash"`
}

const (
	// forever is for how long validators are trusted: this chain has no stake
	// that could be withdrawn, and whoever wants a newer beginning names one.
	forever = 100 * 365 * 24 * time.Hour
	// drift is how far the clock of the caller may be behind the chain's.
	drift = time.Minute
	// maxSteps bounds the headers that are fetched on the way to one.
	maxSteps = 512
)

// Header returns the block of a height, 0 for the newest, after checking that
// the validators signed it, all the way from genesis or the trusted header: of
// every set that follows another, more than two thirds have signed, and more
// than a third of the set before are among them, or the set before has named it.
// The error is a refusal.
func (c Chain) Header(ctx context.Context, height int64) (*cmttypes.LightBlock, error) {
	target, err := c.fetch(ctx, height)
	if err != nil {
		return nil, err
	}
	at, err := c.begin(ctx)
	if err != nil {
		return nil, err
	}
	if target.Height < at.Height {
		return nil, vm.Refuse(vm.CodeInvalid, "block %d is before the one that is trusted, %d", target.Height, at.Height)
	}
	if target.Height == at.Height {
		if string(target.Hash()) != string(at.Hash()) {
			return nil, forged(target.Height, errors.New("it is another than the trusted one"))
		}
		return at, nil
	}
	next := target
	for range maxSteps {
		err := light.Verify(at.SignedHeader, at.ValidatorSet, next.SignedHeader, next.ValidatorSet, forever, c.Now, drift, light.DefaultTrustLevel)
		var unknown light.ErrNewValSetCantBeTrusted
		switch {
		case err == nil && next.Height == target.Height:
			return next, nil
		case err == nil:
			at, next = next, target
		case errors.As(err, &unknown) && next.Height > at.Height+1:
			// Too many validators are new: see how they came.
			if next, err = c.fetch(ctx, at.Height+(next.Height-at.Height)/2); err != nil {
				return nil, err
			}
		default:
			return nil, forged(next.Height, err)
		}
	}
	return nil, forged(target.Height, fmt.Errorf("it is not reached in %d steps", maxSteps))
}

// begin returns the block that everything is held against.
func (c Chain) begin(ctx context.Context) (*cmttypes.LightBlock, error) {
	if c.Trusted != nil {
		b, err := c.fetch(ctx, c.Trusted.Height)
		if err == nil && string(b.Hash()) != string(c.Trusted.Hash[:]) {
			return nil, forged(b.Height, errors.New("it is another than the trusted one"))
		}
		return b, err
	}
	first, err := c.fetch(ctx, c.Genesis.InitialHeight)
	if err != nil {
		return nil, fmt.Errorf("%w (the chain's first block is where trust begins: name a later one if it is gone)", err)
	}
	validators := make([]*cmttypes.Validator, len(c.Genesis.Validators))
	for i, v := range c.Genesis.Validators {
		validators[i] = cmttypes.NewValidator(v.PubKey, v.Power)
	}
	set := cmttypes.NewValidatorSet(validators)
	if string(set.Hash()) != string(first.ValidatorsHash) {
		return nil, forged(first.Height, errors.New("its validators are not those of genesis"))
	}
	if err := set.VerifyCommitLight(c.Genesis.ChainID, first.Commit.BlockID, first.Height, first.Commit); err != nil {
		return nil, forged(first.Height, err)
	}
	return first, nil
}

// fetch gets a block and checks that it is whole and the one that was asked for.
func (c Chain) fetch(ctx context.Context, height int64) (*cmttypes.LightBlock, error) {
	b, err := c.Fetch(ctx, height)
	if err != nil {
		return nil, err
	}
	if err := b.ValidateBasic(c.Genesis.ChainID); err != nil {
		return nil, forged(height, err)
	}
	if height != 0 && b.Height != height {
		return nil, forged(height, fmt.Errorf("block %d came", b.Height))
	}
	return b, nil
}

func forged(height int64, err error) error {
	return vm.Refuse(vm.CodeSignature, "block %d is not one that the chain's validators signed: %.300v", height, err).
		Try("ask another node; this one is wrong about the chain, or the genesis is another chain's")
}

// Signers counts the validators that signed a block, and all of them.
func Signers(b *cmttypes.LightBlock) (signed, all int) {
	for _, s := range b.Commit.Signatures {
		if s.BlockIDFlag == cmttypes.BlockIDFlagCommit {
			signed++
		}
	}
	return signed, b.ValidatorSet.Size()
}
