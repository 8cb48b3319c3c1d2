package types

import (
	"fmt"
	"slices"

	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/keys/recovery"
	kmstypes "github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/vm"
)

// Bounds of the delay before another recovery committee is believed, in seconds.
const (
	DefaultRecoveryDelay = 7 * 24 * 3600
	maxRecoveryDelay     = 365 * 24 * 3600
)

// Same reports whether both are the same people with the same say; nil is
// nobody.
func (r *Recovery) Same(other *Recovery) bool {
	if r == nil || other == nil {
		return r == other
	}
	return r.Threshold == other.Threshold && slices.Equal(r.Recipients, other.Recipients)
}

// Validate checks that a committee can keep backups; nil is nobody.
func (r *Recovery) Validate() error {
	if r == nil {
		return nil
	}
	if _, err := recovery.ParseRecipients(r.Recipients); err != nil {
		return err
	}
	if r.Threshold < 1 || int(r.Threshold) > len(r.Recipients) {
		return fmt.Errorf("recovery committee: threshold is %d of %d members", r.Threshold, len(r.Recipients))
	}
	return nil
}

// Validate checks the rules of a genesis.
func (r RecoveryRules) Validate() error {
	if r.Delay > maxRecoveryDelay {
		return fmt.Errorf("recovery committee: delay is %d s, want at most %d", r.Delay, maxRecoveryDelay)
	}
	if err := r.Current.Validate(); err != nil {
		return err
	}
	if (r.Next == nil) != (r.NextAt == 0) || r.NextAt < 0 {
		return fmt.Errorf("recovery committee: one that is announced has a time and members")
	}
	return r.Next.Validate()
}

// Recovery is the committee that the message names; nil is nobody.
func (m *MsgSetRecovery) Recovery() *Recovery {
	if m.Threshold == 0 && len(m.Recipients) == 0 {
		return nil
	}
	return &Recovery{Threshold: m.Threshold, Recipients: m.Recipients}
}

// ValidateBasic checks what needs no state.
func (m *MsgSetRecovery) ValidateBasic() error {
	if err := kmstypes.CheckAddress("authority", m.Authority); err != nil {
		return err
	}
	if err := m.Recovery().Validate(); err != nil {
		return kmstypes.Fail(vm.Refuse(vm.CodeInvalid, "%v", err))
	}
	return nil
}

// ValidateBasic checks what needs no state.
func (m *MsgBackup) ValidateBasic() error {
	if err := kmstypes.CheckAddress("relay", m.Relay); err != nil {
		return err
	}
	if len(m.Backup) > recovery.MaxBackup {
		return kmstypes.Fail(vm.Refuse(vm.CodeTooLarge, "backup").On("backup", fmt.Sprintf("%d bytes", len(m.Backup)), fmt.Sprintf("at most %d", recovery.MaxBackup)))
	}
	return nil
}

// Sharing is a group that backups suffice for, with them.
type Sharing struct {
	Group   Group
	Backups []recovery.Backup // at least one
}

// Sharings reads the backups of a state and holds each to the group that it is
// of: what a chain that checked them has exported.
func Sharings(chainID string, backed []Group, backups []Backup) ([]Sharing, error) {
	out := make([]Sharing, len(backed))
	for i, g := range backed {
		if g.Recovery == nil {
			return nil, fmt.Errorf("the sharing of round %d is backed up to nobody", g.Round)
		}
		out[i].Group = g
		for _, encoded := range backups {
			if encoded.Epoch != g.Epoch || encoded.Round != g.Round {
				continue
			}
			b, err := recovery.ParseBackup(encoded.Backup)
			if err != nil {
				return nil, err
			}
			m, ok := g.Member(encoded.Node)
			if !ok {
				return nil, fmt.Errorf("a backup is of node %d, which has no share of round %d", encoded.Node, g.Round)
			}
			public, err := keys.ParsePublicKey(m.PublicKey)
			if err != nil {
				return nil, err
			}
			subject := recovery.Subject{ChainID: chainID, Epoch: g.Epoch, Round: g.Round, Node: m.Index, Public: public}
			if err := b.Check(subject, int(g.Recovery.Threshold), len(g.Recovery.Recipients)); err != nil {
				return nil, err
			}
			out[i].Backups = append(out[i].Backups, b)
		}
	}
	return out, nil
}
