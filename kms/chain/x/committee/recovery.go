package committee

import (
	"context"
	"errors"

	"cosmossdk.io/collections"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/keys/recovery"
	"github.com/secretvm/secretvm/kms/chain/x/committee/types"
	kmstypes "github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/vm"
)

// RecoveryRules returns who keeps pieces of the shares, and who will.
func (k Keeper) RecoveryRules(ctx context.Context) (types.RecoveryRules, error) {
	rules, err := k.recovery.Get(ctx)
	if errors.Is(err, collections.ErrNotFound) {
		return types.RecoveryRules{Delay: types.DefaultRecoveryDelay}, nil
	}
	return rules, err
}

// recoveryNow returns the rules after putting into force what is due.
func (k Keeper) recoveryNow(ctx sdk.Context) (types.RecoveryRules, error) {
	rules, err := k.RecoveryRules(ctx)
	if err != nil || rules.NextAt == 0 || ctx.BlockTime().Unix() < rules.NextAt {
		return rules, err
	}
	rules.Current, rules.Next, rules.NextAt = rules.Next, nil, 0
	return rules, k.recovery.Set(ctx, rules)
}

// SetRecovery names another recovery committee. Who has it has the keys of all
// services, so nobody comes into it without having been announced for as long as
// genesis says: owners who trust the chain with those who are in it can leave
// before. That there be none is in force at once.
func (s server) SetRecovery(ctx context.Context, m *types.MsgSetRecovery) (*types.MsgSetRecoveryResponse, error) {
	if _, err := s.govern(ctx, m.Authority); err != nil {
		return nil, err
	}
	block := sdk.UnwrapSDKContext(ctx)
	rules, err := s.recoveryNow(block)
	if err != nil {
		return nil, err
	}
	wanted := m.Recovery()
	now := block.BlockTime().Unix()
	at := now
	switch {
	case wanted == nil, wanted.Same(rules.Current): // also takes back what was announced
		rules.Current, rules.Next, rules.NextAt = wanted, nil, 0
	default:
		at += int64(rules.Delay)
		rules.Next, rules.NextAt = wanted, max(at, 1)
	}
	return &types.MsgSetRecoveryResponse{At: at}, errors.Join(s.recovery.Set(ctx, rules),
		block.EventManager().EmitTypedEvent(&types.EventRecovery{Recovery: wanted, At: at}))
}

// mayBackUp finds the share that a message is a backup of. The error is a
// refusal.
func (k Keeper) mayBackUp(ctx context.Context, m *types.MsgBackup) (types.Group, recovery.Subject, error) {
	var subject recovery.Subject
	n, ok, err := k.Signer(ctx, m.Relay)
	if err != nil {
		return types.Group{}, subject, err
	}
	if !ok {
		return types.Group{}, subject, kmstypes.Fail(vm.Refuse(vm.CodePermission, "only nodes back up shares").On("relay", m.Relay, "a node's account"))
	}
	group, err := k.Group(ctx, m.Epoch)
	if err != nil {
		return group, subject, err
	}
	if group.Round != m.Round {
		return group, subject, kmstypes.Fail(vm.Refuse(vm.CodeStale, "the shares of epoch %d are those of round %d, and the backup is of round %d", m.Epoch, group.Round, m.Round))
	}
	member, ok := group.Member(n.Index)
	if !ok {
		return group, subject, kmstypes.Fail(vm.Refuse(vm.CodePermission, "node %d holds no share of epoch %d", n.Index, m.Epoch))
	}
	if group.Recovery == nil {
		return group, subject, kmstypes.Fail(vm.Refuse(vm.CodeInvalid, "nobody keeps backups of the shares of round %d", m.Round))
	}
	has, err := k.HasBackup(ctx, group, n.Index)
	if err != nil {
		return group, subject, err
	}
	if has {
		return group, subject, kmstypes.Fail(vm.Refuse(vm.CodeExists, "the share of node %d of round %d is backed up already", n.Index, m.Round))
	}
	subject, err = subjectOf(ctx, group, member)
	return group, subject, err
}

// subjectOf names a member's share as backups do.
func subjectOf(ctx context.Context, g types.Group, m types.Member) (recovery.Subject, error) {
	public, err := keys.ParsePublicKey(m.PublicKey)
	return recovery.Subject{ChainID: sdk.UnwrapSDKContext(ctx).ChainID(), Epoch: g.Epoch, Round: g.Round, Node: m.Index, Public: public}, err
}

// Backup records a holder's share in pieces, if all of it that is public is
// right: whoever made it has the share.
func (s server) Backup(ctx context.Context, m *types.MsgBackup) (*types.MsgBackupResponse, error) {
	block := sdk.UnwrapSDKContext(ctx)
	block.GasMeter().ConsumeGas(roundGas, "back up a share")
	group, subject, err := s.mayBackUp(ctx, m)
	if err != nil {
		return nil, err
	}
	block.GasMeter().ConsumeGas(PointGas*uint64(group.Recovery.Threshold+2), "verify a backup")
	b, err := recovery.ParseBackup(m.Backup)
	if err == nil {
		err = b.Check(subject, int(group.Recovery.Threshold), len(group.Recovery.Recipients))
	}
	if err != nil {
		return nil, kmstypes.Fail(vm.Refuse(vm.CodeInvalid, "%v", err))
	}
	err = s.backups.Set(ctx, collections.Join3(group.Epoch, group.Round, subject.Node), types.Backup{
		Epoch: group.Epoch, Round: group.Round, Node: subject.Node, Height: block.BlockHeight(), Backup: m.Backup,
	})
	if err != nil {
		return nil, err
	}
	return &types.MsgBackupResponse{}, s.suffice(block, group)
}

// suffice makes a sharing the one to recover from as soon as it has backups
// enough. Until then those of the one before stay, so that there is no moment
// without.
func (s server) suffice(ctx sdk.Context, g types.Group) error {
	there, others := 0, []collections.Triple[uint64, uint64, uint32]{}
	err := s.backups.Walk(ctx, collections.NewPrefixedTripleRange[uint64, uint64, uint32](g.Epoch), func(at collections.Triple[uint64, uint64, uint32], _ types.Backup) (bool, error) {
		if at.K2() == g.Round {
			there++
		} else {
			others = append(others, at)
		}
		return false, nil
	})
	if err != nil || there != g.Threshold() {
		return err
	}
	for _, at := range others {
		err = errors.Join(err, s.backups.Remove(ctx, at))
	}
	return errors.Join(err, s.backed.Set(ctx, g.Epoch, g), ctx.EventManager().EmitTypedEvent(&types.EventBackedUp{Epoch: g.Epoch, Round: g.Round}))
}

// HasBackup reports whether a member's share of a group is backed up.
func (k Keeper) HasBackup(ctx context.Context, g types.Group, index uint32) (bool, error) {
	return k.backups.Has(ctx, collections.Join3(g.Epoch, g.Round, index))
}

// Backed returns the sharings to recover from, by epoch.
func (k Keeper) Backed(ctx context.Context) (out []types.Group, err error) {
	err = k.backed.Walk(ctx, nil, func(_ uint64, g types.Group) (bool, error) {
		out = append(out, g)
		return false, nil
	})
	return out, err
}

// forgetBackups deletes the backups of an epoch.
func (k Keeper) forgetBackups(ctx context.Context, epoch uint64) error {
	return errors.Join(k.backups.Clear(ctx, collections.NewPrefixedTripleRange[uint64, uint64, uint32](epoch)), k.backed.Remove(ctx, epoch))
}

// exportBackups reads what recovery needs.
func (k Keeper) exportBackups(ctx context.Context, g *types.GenesisState) (err error) {
	rules, err := k.RecoveryRules(ctx)
	if err != nil {
		return err
	}
	g.Recovery = &rules
	if g.Backed, err = k.Backed(ctx); err != nil {
		return err
	}
	return k.backups.Walk(ctx, nil, func(_ collections.Triple[uint64, uint64, uint32], b types.Backup) (bool, error) {
		g.Backups = append(g.Backups, b)
		return false, nil
	})
}

// importBackups writes what exportBackups read.
func (k Keeper) importBackups(ctx context.Context, g types.GenesisState) error {
	if g.Recovery != nil {
		if err := k.recovery.Set(ctx, *g.Recovery); err != nil {
			return err
		}
	}
	for _, group := range g.Backed {
		if err := k.backed.Set(ctx, group.Epoch, group); err != nil {
			return err
		}
	}
	for _, b := range g.Backups {
		if err := k.backups.Set(ctx, collections.Join3(b.Epoch, b.Round, b.Node), b); err != nil {
			return err
		}
	}
	return nil
}
