package types

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/cosmos/gogoproto/jsonpb"

	"github.com/cosmos/cosmos-sdk/codec"
)

// DefaultGenesis has no council.
func DefaultGenesis() GenesisState { return GenesisState{} }

// Validate checks that the state is one that messages could have made. The
// messages of proposals are checked once they are unpacked.
func (g GenesisState) Validate() error {
	councils := make(map[string]*Council, len(g.Councils))
	counted := make(map[string][2]uint64, len(g.Councils)) // open, closed
	for i := range g.Councils {
		c := &g.Councils[i]
		want, err := Address(c.Id)
		if err != nil {
			return err
		}
		if c.Id >= g.NextCouncil || c.Address != want || councils[c.Address] != nil {
			return fmt.Errorf("genesis of x/council: council %d at %.100q, want %s, once, and below %d", c.Id, c.Address, want, g.NextCouncil)
		}
		if err := CheckMembers(c.Members, c.Threshold); err != nil {
			return fmt.Errorf("genesis of x/council: council %s: %w", c.Address, err)
		}
		if !slices.IsSorted(c.Members) || len(c.Description) > MaxDescription {
			return fmt.Errorf("genesis of x/council: council %s: members in disorder, or a long description", c.Address)
		}
		councils[c.Address] = c
	}
	seen := make(map[uint64]bool, len(g.Proposals))
	for i := range g.Proposals {
		p := &g.Proposals[i]
		if p.Id >= g.NextProposal || seen[p.Id] {
			return fmt.Errorf("genesis of x/council: proposal %d is there twice, or not below %d", p.Id, g.NextProposal)
		}
		seen[p.Id] = true
		if err := p.validate(councils[p.Council]); err != nil {
			return fmt.Errorf("genesis of x/council: proposal %d: %w", p.Id, err)
		}
		n := counted[p.Council]
		if p.Status == STATUS_OPEN {
			n[0]++
		} else {
			n[1]++
		}
		counted[p.Council] = n
	}
	for _, c := range g.Councils {
		if n := counted[c.Address]; n != [2]uint64{c.Open, c.Closed} {
			return fmt.Errorf("genesis of x/council: council %s counts %d open and %d closed proposals, there are %d and %d", c.Address, c.Open, c.Closed, n[0], n[1])
		}
	}
	return nil
}

// validate checks one proposal against its council, nil when there is none.
func (p *Proposal) validate(c *Council) error {
	switch {
	case c == nil:
		return fmt.Errorf("no council %.100q", p.Council)
	case p.Status <= STATUS_UNSPECIFIED || p.Status > STATUS_SUPERSEDED:
		return fmt.Errorf("status %d", p.Status)
	case (p.Status == STATUS_OPEN) != (p.DecidedHeight == 0), (p.Status == STATUS_FAILED) != (p.Failure != nil):
		return fmt.Errorf("status %s does not fit the rest", p.Status)
	case len(p.Title) > MaxTitle:
		return fmt.Errorf("a title of %d bytes", len(p.Title))
	}
	for _, votes := range [][]string{p.Approvals, p.Rejections} {
		for i, v := range votes {
			if i > 0 && votes[i-1] >= v || p.Status == STATUS_OPEN && !slices.Contains(c.Members, v) {
				return fmt.Errorf("the votes of %.100q are in disorder, or of no member", v)
			}
		}
	}
	if p.Status == STATUS_OPEN && len(p.Approvals) >= int(c.Threshold) {
		return fmt.Errorf("open, and approved by %d of %d", len(p.Approvals), c.Threshold)
	}
	return nil
}

// MarshalJSON writes the state as protobuf's JSON: messages inside proposals
// have no other.
func (g GenesisState) MarshalJSON() ([]byte, error) { return codec.ProtoMarshalJSON(&g, nil) }

// UnmarshalJSON reads what MarshalJSON writes.
func (g *GenesisState) UnmarshalJSON(b []byte) error {
	return jsonpb.Unmarshal(bytes.NewReader(b), g)
}
