package types

import (
	"crypto/ed25519"
	"fmt"

	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/keys/recovery"
	kmstypes "github.com/secretvm/secretvm/kms/chain/x/kms/types"
)

// Power is every validator's: one node, one vote.
const Power = 10

// Bounds of parameters.
const (
	maxPhaseBlocks  = 10_000
	maxPhaseSeconds = 86_400
)

// DefaultParams admit attested nodes only. authority is an address.
func DefaultParams(authority string) Params {
	return Params{Authority: authority, PhaseBlocks: 20, PhaseSeconds: 10, RetrySeconds: 5, WipeAfter: 600}
}

// Threshold is how many of n nodes make a key: more than two thirds, as many as
// the chain needs to decide.
func Threshold(n int) int { return 2*n/3 + 1 }

// Validate reports the first parameter without meaning.
func (p Params) Validate() error {
	if err := kmstypes.CheckAddress("authority", p.Authority); err != nil {
		return err
	}
	if err := p.checkGovernance(); err != nil {
		return err
	}
	switch {
	case p.PhaseBlocks == 0 || p.PhaseBlocks > maxPhaseBlocks:
		return fmt.Errorf("phase_blocks is %d, want 1 to %d", p.PhaseBlocks, maxPhaseBlocks)
	case p.PhaseSeconds > maxPhaseSeconds || p.RetrySeconds > maxPhaseSeconds:
		return fmt.Errorf("phase_seconds and retry_seconds are %d and %d, want at most %d", p.PhaseSeconds, p.RetrySeconds, maxPhaseSeconds)
	}
	return nil
}

// Validate checks keys and addresses.
func (i Identity) Validate() error {
	if err := kmstypes.CheckAddress("relay", i.Relay); err != nil {
		return err
	}
	if len(i.ConsensusKey) != ed25519.PublicKeySize {
		return fmt.Errorf("consensus key has %d bytes, want %d", len(i.ConsensusKey), ed25519.PublicKeySize)
	}
	return keys.CheckRecipientKey(i.SealingKey)
}

// Validate checks that the state can start a chain: nodes that are told apart,
// attested unless the parameters say otherwise, and groups whose members are
// nodes with keys that follow from the commitments.
func (g GenesisState) Validate() error {
	if err := g.validate(); err != nil {
		return fmt.Errorf("genesis of x/committee: %w", err)
	}
	return nil
}

func (g GenesisState) validate() error {
	if err := g.Params.Validate(); err != nil {
		return err
	}
	if len(g.Nodes) == 0 || len(g.Nodes) > keys.MaxNodes {
		return fmt.Errorf("%d nodes, want 1 to %d", len(g.Nodes), keys.MaxNodes)
	}
	indices, unique := make(map[uint32]bool), make(map[string]bool)
	for _, n := range g.Nodes {
		if n.Index == 0 || n.Index > keys.MaxNodes || indices[n.Index] {
			return fmt.Errorf("node index %d is out of range, or given twice", n.Index)
		}
		indices[n.Index] = true
		if err := n.Identity.Validate(); err != nil {
			return fmt.Errorf("node %d: %w", n.Index, err)
		}
		if err := kmstypes.CheckAddress("operator", n.Operator); err != nil {
			return fmt.Errorf("node %d: %w", n.Index, err)
		}
		if !n.Identity.Attested && !g.Params.UnattestedNodes {
			return fmt.Errorf("node %d is not attested, and unattested_nodes is false", n.Index)
		}
		for _, own := range []string{n.Identity.Relay, string(n.Identity.ConsensusKey), string(n.Identity.SealingKey)} {
			if unique[own] {
				return fmt.Errorf("node %d has the relay account or a key of another node", n.Index)
			}
			unique[own] = true
		}
	}
	open := make(map[uint64]bool)
	for i, e := range g.Epochs {
		if e.Epoch != uint64(i) {
			return fmt.Errorf("epoch %d is at place %d", e.Epoch, i)
		}
		open[e.Epoch] = true
	}
	if len(open) == 0 {
		return fmt.Errorf("no epoch")
	}
	seen := make(map[uint64]bool)
	for _, group := range g.Groups {
		if !open[group.Epoch] || seen[group.Epoch] {
			return fmt.Errorf("group of epoch %d, which is unknown, or has one already", group.Epoch)
		}
		seen[group.Epoch] = true
		if err := group.validate(indices); err != nil {
			return fmt.Errorf("group of epoch %d: %w", group.Epoch, err)
		}
		if err := group.Recovery.Validate(); err != nil {
			return fmt.Errorf("group of epoch %d: %w", group.Epoch, err)
		}
	}
	return g.validateRecovery(open)
}

// validateRecovery checks who keeps backups, and that they can be told apart:
// what they are of is the sharing's matter (Sharings).
func (g GenesisState) validateRecovery(open map[uint64]bool) error {
	if g.Recovery != nil {
		if err := g.Recovery.Validate(); err != nil {
			return err
		}
	}
	backed := make(map[uint64]bool)
	for _, group := range g.Backed {
		if !open[group.Epoch] || backed[group.Epoch] {
			return fmt.Errorf("backups of epoch %d, which is unknown, or has some already", group.Epoch)
		}
		backed[group.Epoch] = true
		members := make(map[uint32]bool) // its nodes may be gone
		for _, m := range group.Members {
			members[m.Index] = true
		}
		if err := group.validate(members); err != nil {
			return fmt.Errorf("backups of epoch %d: %w", group.Epoch, err)
		}
		if err := group.Recovery.Validate(); err != nil {
			return fmt.Errorf("backups of epoch %d: %w", group.Epoch, err)
		}
	}
	type place struct {
		epoch, round uint64
		node         uint32
	}
	seen := make(map[place]bool)
	for _, b := range g.Backups {
		at := place{b.Epoch, b.Round, b.Node}
		if seen[at] || !open[b.Epoch] || len(b.Backup) > recovery.MaxBackup {
			return fmt.Errorf("backup of node %d, round %d, is too large, of an unknown epoch, or there twice", b.Node, b.Round)
		}
		seen[at] = true
	}
	return nil
}
