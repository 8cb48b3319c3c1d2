package recovery

import (
	"fmt"
	"io"

	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/keys/dkg"
)

// Deals deals recovered shares to the members of a resharing round, as their lost
// nodes would have: the new nodes open, finalise and take their shares like in
// any other round, under the same group key. The round's Old is the lost sharing,
// its dealers are the recovered indexes, as many as the old threshold or more.
// The shares are wiped, whatever happens.
func Deals(random io.Reader, round dkg.Round, shares []keys.Share) ([]dkg.Deal, error) {
	defer func() {
		for i := range shares {
			shares[i].Wipe()
		}
	}()
	deals := make([]dkg.Deal, 0, len(shares))
	for i := range shares {
		deal, err := one(random, round, &shares[i])
		if err != nil {
			return nil, fmt.Errorf("deal the recovered share of node %d: %w", shares[i].Index, err)
		}
		deals = append(deals, deal)
	}
	if _, err := round.Finalise(deals, nil, nil); err != nil {
		return nil, fmt.Errorf("deal recovered shares: %w", err)
	}
	return deals, nil
}

func one(random io.Reader, round dkg.Round, share *keys.Share) (dkg.Deal, error) {
	seed, err := dkg.NewSeed(random)
	if err != nil {
		return dkg.Deal{}, err
	}
	defer seed.Wipe()
	dealer, err := round.NewDealer(share.Index, seed, share)
	if err != nil {
		return dkg.Deal{}, err
	}
	defer dealer.Wipe()
	return dealer.Deal(random)
}
