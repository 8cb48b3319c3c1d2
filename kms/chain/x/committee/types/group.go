package types

import (
	"fmt"

	"github.com/secretvm/secretvm/keys"
)

// Parse returns the commitments.
func (g Group) Parse() (keys.Commitments, error) {
	c := make(keys.Commitments, len(g.Commitments))
	for i, b := range g.Commitments {
		k, err := keys.ParsePublicKey(b)
		if err != nil {
			return nil, fmt.Errorf("commitment %d: %w", i, err)
		}
		c[i] = k
	}
	return c, c.Validate()
}

// Key is the group key as configs write it: hex, or "" of an empty group.
func (g Group) Key() string {
	if len(g.Commitments) == 0 {
		return ""
	}
	return fmt.Sprintf("%x", g.Commitments[0])
}

// Threshold is how many partial keys make a key.
func (g Group) Threshold() int { return len(g.Commitments) }

// Member returns the holder of a share.
func (g Group) Member(index uint32) (Member, bool) {
	for _, m := range g.Members {
		if m.Index == index {
			return m, true
		}
	}
	return Member{}, false
}

// NewGroup makes the group that shares a secret among holders: their public
// shares follow from the commitments.
func NewGroup(epoch, round uint64, c keys.Commitments, holders []Holder) (Group, error) {
	g := Group{Epoch: epoch, Round: round}
	for _, k := range c {
		g.Commitments = append(g.Commitments, k.Bytes())
	}
	for _, h := range holders {
		public, err := c.Public(h.Index)
		if err != nil {
			return g, err
		}
		g.Members = append(g.Members, Member{Index: h.Index, PublicKey: public.Bytes(), IdentityDigest: h.IdentityDigest})
	}
	return g, nil
}

// validate checks a group at genesis.
func (g Group) validate(nodes map[uint32]bool) error {
	c, err := g.Parse()
	if err != nil {
		return err
	}
	if len(g.Members) < c.Threshold() {
		return fmt.Errorf("%d members, want at least %d", len(g.Members), c.Threshold())
	}
	last := uint32(0)
	for _, m := range g.Members {
		if m.Index <= last || !nodes[m.Index] {
			return fmt.Errorf("member %d is no node, or out of order", m.Index)
		}
		last = m.Index
		want, err := c.Public(m.Index)
		if err != nil {
			return err
		}
		if got, err := keys.ParsePublicKey(m.PublicKey); err != nil || !got.Equal(want) {
			return fmt.Errorf("the public key of member %d does not follow from the commitments", m.Index)
		}
	}
	return nil
}
