package committee

import (
	"context"
	"errors"
	"fmt"

	"cosmossdk.io/collections"

	"github.com/secretvm/secretvm/keys/dkg"
	"github.com/secretvm/secretvm/kms/chain/x/committee/types"
)

// Transcript is what nodes sent in a round, by index.
type Transcript struct {
	Fresh      map[uint32][]byte // keys of the holders
	Deals      map[uint32][]byte // dkg.Deal.Encode
	Complaints map[uint32]types.Complaint
	Answers    map[uint32]types.Justification
}

// Transcript returns what was sent in a round so far.
func (k Keeper) Transcript(ctx context.Context, round uint64) (t Transcript, err error) {
	return t, errors.Join(
		read(ctx, k.fresh, round, &t.Fresh), read(ctx, k.deals, round, &t.Deals),
		read(ctx, k.complaints, round, &t.Complaints), read(ctx, k.answers, round, &t.Answers),
	)
}

func read[V any](ctx context.Context, from collections.Map[collections.Pair[uint64, uint32], V], round uint64, into *map[uint32]V) error {
	*into = make(map[uint32]V)
	of := collections.NewPrefixedPairRange[uint64, uint32](round)
	return from.Walk(ctx, of, func(at collections.Pair[uint64, uint32], v V) (bool, error) {
		(*into)[at.K2()] = v
		return false, nil
	})
}

func (t Transcript) prepared(index uint32) bool {
	_, ok := t.Fresh[index]
	return ok
}

// HasComplained reports whether a holder has said its word, an empty one too.
func (t Transcript) HasComplained(index uint32) bool {
	_, ok := t.Complaints[index]
	return ok
}

// HasAnswered reports whether a dealer has answered complaints.
func (t Transcript) HasAnswered(index uint32) bool {
	_, ok := t.Answers[index]
	return ok
}

// Accused returns the dealers that somebody complains about, each with who does.
func (t Transcript) Accused() map[uint32]map[uint32]bool {
	out := make(map[uint32]map[uint32]bool)
	for holder, c := range t.Complaints {
		for _, dealer := range c.Dealers {
			if out[dealer] == nil {
				out[dealer] = make(map[uint32]bool)
			}
			out[dealer][holder] = true
		}
	}
	return out
}

// Posted returns the transcript as package dkg knows it, in the order of the
// round's dealers and holders.
func (t Transcript) Posted(r types.Round) (deals []dkg.Deal, complaints []dkg.Complaint, answers []dkg.Justification, err error) {
	byDealer := make(map[uint32]dkg.Deal)
	for _, dealer := range r.Dealers {
		b, ok := t.Deals[dealer]
		if !ok {
			continue
		}
		d, err := dkg.ParseDeal(b)
		if err != nil {
			return nil, nil, nil, fmt.Errorf("deal of node %d in round %d: %w", dealer, r.Id, err)
		}
		deals, byDealer[dealer] = append(deals, d), d
		answers = append(answers, t.Answers[dealer].Reveals(dealer)...)
	}
	for _, h := range r.Holders {
		for _, dealer := range t.Complaints[h.Index].Dealers {
			complaints = append(complaints, dkg.Complain(byDealer[dealer], h.Index))
		}
	}
	return deals, complaints, answers, nil
}

// outcome is what the round made.
func (t Transcript) outcome(chainID string, r types.Round) (dkg.Outcome, error) {
	a, err := r.Arithmetic(chainID)
	if err != nil {
		return dkg.Outcome{}, err
	}
	deals, complaints, answers, err := t.Posted(r)
	if err != nil {
		return dkg.Outcome{}, err
	}
	return a.Finalise(deals, complaints, answers)
}
