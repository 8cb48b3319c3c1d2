package recovery

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"filippo.io/age"

	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/keys/dkg"
)

// Combined is the group's secret as the committee shares it: k members make it.
type Combined struct {
	Commitments keys.Commitments // the first is the group key
	Nodes       []uint32         // whose backups it is made of, ascending
	backups     []Backup
}

// Combine makes it of backups of one sharing, of which it takes the first, in
// the order of their nodes, as many as the sharing's threshold. Each has passed
// Check.
func Combine(sharing keys.Commitments, backups []Backup) (Combined, error) {
	sorted := slices.Clone(backups)
	slices.SortFunc(sorted, func(a, b Backup) int { return int(a.Node) - int(b.Node) })
	sorted = slices.CompactFunc(sorted, func(a, b Backup) bool { return a.Node == b.Node })
	if len(sorted) < sharing.Threshold() {
		return Combined{}, fmt.Errorf("combine backups: there are those of %d nodes, and %d are needed", len(sorted), sharing.Threshold())
	}
	out := Combined{backups: sorted[:sharing.Threshold()]}
	all := make([]keys.Commitments, len(out.backups))
	for i, b := range out.backups {
		first := out.backups[0]
		if b.ChainID != first.ChainID || b.Epoch != first.Epoch || b.Round != first.Round || len(b.Commitments) != len(first.Commitments) {
			return Combined{}, fmt.Errorf("combine backups: those of %s and of %s do not belong together", first.Subject, b.Subject)
		}
		public, err := sharing.Public(b.Node)
		if err != nil {
			return Combined{}, fmt.Errorf("combine backups: %w", err)
		}
		if !public.Equal(b.Public) {
			return Combined{}, fmt.Errorf("combine backups: that of %s is of another sharing", b.Subject)
		}
		out.Nodes, all[i] = append(out.Nodes, b.Node), b.Commitments
	}
	var err error
	if out.Commitments, err = keys.InterpolateCommitments(out.Nodes, all); err != nil {
		return Combined{}, fmt.Errorf("combine backups: %w", err)
	}
	if !out.Commitments.GroupKey().Equal(sharing.GroupKey()) { // follows from the public keys
		return Combined{}, errors.New("combine backups: they are not of the group's key")
	}
	return out, nil
}

// Take opens a member's pieces and makes its share of the group's secret of
// them; Index is the member's number in the committee. Whoever is several members
// gets several shares. The error is ErrNotYours, or names nodes whose envelopes
// are wrong: combine the backups of others.
func (c Combined) Take(identities ...age.Identity) (shares []keys.Share, err error) {
	byMember := make(map[uint32][]keys.Share)
	defer func() {
		for _, pieces := range byMember {
			clear(pieces)
		}
	}()
	for _, b := range c.backups {
		pieces, openErr := b.Open(identities...)
		if openErr != nil {
			err = errors.Join(err, openErr)
		}
		for _, p := range pieces {
			byMember[p.Number()] = append(byMember[p.Number()], p.share)
			p.Wipe()
		}
	}
	if err != nil {
		return nil, err
	}
	for number, pieces := range byMember {
		if len(pieces) != len(c.Nodes) {
			return nil, fmt.Errorf("member %d has pieces of %d of %d backups", number, len(pieces), len(c.Nodes))
		}
		share, err := keys.InterpolateShares(c.Nodes, pieces)
		if err == nil {
			err = c.Commitments.Verify(share)
		}
		if err != nil {
			return nil, fmt.Errorf("make the share of member %d: %w", number, err)
		}
		shares = append(shares, share)
	}
	slices.SortFunc(shares, func(a, b keys.Share) int { return int(a.Index) - int(b.Index) })
	return shares, nil
}

// Deal deals a member's share to the members of a resharing round, whose Old is
// Combined.Commitments and whose dealers are members of the committee, by number.
// The share is wiped, whatever happens.
func Deal(random io.Reader, round dkg.Round, share *keys.Share) (dkg.Deal, error) {
	defer share.Wipe()
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
