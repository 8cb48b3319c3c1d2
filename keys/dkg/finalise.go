package dkg

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/secretvm/secretvm/keys"
)

// Fault is why a dealer does not count.
type Fault struct {
	Dealer uint32
	Reason string // for people: the chain's log
	// Lied is whether the dealer did something wrong, rather than nothing at all.
	Lied bool
}

// Outcome is what a round made. Everybody computes the same from the same messages.
type Outcome struct {
	Commitments keys.Commitments // of the new sharing
	Qualified   []uint32         // dealers without fault, ascending
	Used        []uint32         // those whose deals make the sharing, ascending
	Faults      []Fault          // the other dealers, ascending
}

// ErrTooFew is why a round fails: fewer dealers qualified than it takes.
var ErrTooFew = errors.New("too few dealers qualified")

// Finalise computes the outcome from all that was posted, in any order. It checks
// everything itself: what does not belong to the round is not counted, and a
// dealer is excluded that is silent, whose deal is wrong, who dealt twice, about
// whom the threshold of members complain, or who left a complaint unanswered.
// If fewer than Needed dealers remain, the error is ErrTooFew and the outcome
// lists the faults: the round is to be repeated without these dealers.
//
// For a new key all qualified deals are used, in resharing those of the lowest
// indexes, as many as the old threshold.
func (r Round) Finalise(deals []Deal, complaints []Complaint, justifications []Justification) (Outcome, error) {
	if err := r.Validate(); err != nil {
		return Outcome{}, err
	}
	var out Outcome
	used := make(map[uint32]Deal, len(r.Dealers))
	for _, dealer := range r.Dealers {
		d, fault := r.judge(dealer, deals, complaints, justifications)
		if fault != nil {
			out.Faults = append(out.Faults, *fault)
			continue
		}
		out.Qualified = append(out.Qualified, dealer)
		used[dealer] = d
	}
	if len(out.Qualified) < r.Needed() {
		return out, fmt.Errorf("finalise round %d: %w: %d of %d, want %d%s", r.Number, ErrTooFew,
			len(out.Qualified), len(r.Dealers), r.Needed(), faults(out.Faults))
	}
	out.Used = out.Qualified
	if r.Old != nil {
		out.Used = out.Qualified[:r.Needed()]
	}
	all := make([]keys.Commitments, len(out.Used))
	for i, dealer := range out.Used {
		all[i] = used[dealer].Commitments
	}
	var err error
	if r.Old != nil {
		out.Commitments, err = keys.InterpolateCommitments(out.Used, all)
	} else {
		out.Commitments, err = keys.SumCommitments(all)
	}
	if err != nil {
		return out, fmt.Errorf("finalise round %d: %w", r.Number, err)
	}
	if r.Old != nil && !out.Commitments.GroupKey().Equal(r.Old.GroupKey()) { // follows from Check
		return out, fmt.Errorf("finalise round %d: the group key would change", r.Number)
	}
	return out, nil
}

// judge finds the deal of a dealer, or what is wrong with it.
func (r Round) judge(dealer uint32, deals []Deal, complaints []Complaint, justifications []Justification) (Deal, *Fault) {
	var mine []Deal
	for _, d := range deals {
		if d.Dealer == dealer && (len(mine) == 0 || d.Digest() != mine[0].Digest()) {
			mine = append(mine, d)
		}
	}
	if len(mine) == 0 {
		return Deal{}, &Fault{Dealer: dealer, Reason: "posted no deal"}
	}
	d := mine[0]
	if len(mine) > 1 {
		return d, &Fault{Dealer: dealer, Reason: "posted two different deals", Lied: true}
	}
	if err := r.Check(d); err != nil {
		return d, &Fault{Dealer: dealer, Reason: err.Error(), Lied: true}
	}
	var unhappy []uint32
	for _, c := range complaints {
		if r.CheckComplaint(d, c) == nil && !slices.Contains(unhappy, c.Member) {
			unhappy = append(unhappy, c.Member)
		}
	}
	slices.Sort(unhappy)
	if len(unhappy) >= r.Threshold {
		return d, &Fault{Dealer: dealer, Reason: fmt.Sprintf("members %v complain, which is the threshold", unhappy), Lied: true}
	}
	for _, member := range unhappy {
		right := slices.ContainsFunc(justifications, func(j Justification) bool {
			return j.Dealer == dealer && j.Member == member && r.CheckJustification(d, j) == nil
		})
		if !right {
			return d, &Fault{Dealer: dealer, Reason: fmt.Sprintf("did not answer the complaint of member %d with its share", member), Lied: true}
		}
	}
	return d, nil
}

// faults lists them for an error.
func faults(list []Fault) string {
	var out strings.Builder
	for _, f := range list {
		fmt.Fprintf(&out, "; node %d: %s", f.Dealer, strings.TrimPrefix(f.Reason, fmt.Sprintf("deal of node %d: ", f.Dealer)))
	}
	return out.String()
}

// Share computes a member's new share from the deals that the outcome uses: from
// its own envelopes, or from justifications where it complained. The result is
// checked against the outcome's commitments.
func (r Round) Share(o Outcome, member uint32, key *keys.Recipient, deals []Deal, justifications []Justification) (keys.Share, error) {
	shares := make([]keys.Share, len(o.Used))
	defer clear(shares)
	for i, dealer := range o.Used {
		at := slices.IndexFunc(deals, func(d Deal) bool { return d.Dealer == dealer })
		if at < 0 {
			return keys.Share{}, fmt.Errorf("take share %d: the deal of node %d is missing", member, dealer)
		}
		s, err := r.Open(deals[at], member, key)
		for _, j := range justifications {
			if err != nil && j.Dealer == dealer && j.Member == member {
				s, err = r.justified(deals[at], j)
			}
		}
		if err != nil {
			return keys.Share{}, fmt.Errorf("take share %d: %w", member, err)
		}
		shares[i] = s
	}
	var share keys.Share
	var err error
	if r.Old != nil {
		share, err = keys.InterpolateShares(o.Used, shares)
	} else {
		share, err = keys.SumShares(shares)
	}
	if err == nil {
		err = o.Commitments.Verify(share)
	}
	if err != nil {
		return keys.Share{}, fmt.Errorf("take share %d: %w", member, err)
	}
	return share, nil
}
