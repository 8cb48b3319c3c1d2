package node

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/secretvm/secretvm/keys/recovery"
	"github.com/secretvm/secretvm/kms/chain/x/committee"
	"github.com/secretvm/secretvm/kms/chain/x/committee/types"
)

// backUp posts this node's shares in pieces, where the ledger names people who
// keep them and does not have this node's yet.
func (c *ceremony) backUp(ctx context.Context, s scene) error {
	for _, g := range s.groups {
		member, is := g.Member(s.me.Index)
		share, has := c.keys.exact(g)
		name := fmt.Sprintf("backup %d-%d", g.Epoch, g.Round)
		if !is || !has || g.Recovery == nil || c.underWay(name+" "+sdk.MsgTypeURL(&types.MsgBackup{})) {
			continue
		}
		done, err := c.ledger.Committee.HasBackup(s.ctx, g, member.Index)
		if err != nil {
			return err
		}
		if done {
			continue
		}
		recipients, err := recovery.ParseRecipients(g.Recovery.Recipients)
		if err != nil {
			return err
		}
		subject := recovery.Subject{ChainID: c.ledger.ChainID(), Epoch: g.Epoch, Round: g.Round, Node: member.Index, Public: share.Public()}
		b, err := recovery.Make(rand.Reader, subject, share, int(g.Recovery.Threshold), recipients)
		if err != nil {
			return err
		}
		encoded := b.Encode()
		gas := baseGas + 100*uint64(len(encoded)) + committee.PointGas*uint64(g.Recovery.Threshold+2)
		c.send(ctx, name, &types.MsgBackup{Relay: c.relay.account.Address, Epoch: g.Epoch, Round: g.Round, Backup: encoded}, gas)
	}
	return nil
}

// underWay reports whether a message was sent a moment ago.
func (c *ceremony) underWay(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Since(c.sent[name]) < resend
}

// announced warns of a recovery committee that is to come.
func announced(r types.RecoveryRules, now int64) []string {
	if r.NextAt == 0 || r.Next == nil || r.NextAt <= now {
		return nil
	}
	return []string{fmt.Sprintf("FROM %s ON OTHERS KEEP THE SHARES: %d OF %d OF THEM TOGETHER COULD READ EVERY KEY (kmsd query committee recovery).",
		at(r.NextAt).Format("2006-01-02 15:04 MST"), r.Next.Threshold, len(r.Next.Recipients))}
}
