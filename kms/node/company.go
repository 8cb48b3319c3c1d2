package node

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"github.com/secretvm/secretvm/kms/chain"
	"github.com/secretvm/secretvm/kms/chain/x/committee/types"
)

// loadShares takes this node's shares from their files. A share that is missing
// or wrong is an error only where this node alone makes the keys: among others,
// the ceremony takes it from the ledger, or has it made anew.
func (n *Node) loadShares(genesis chain.Genesis) error {
	groups, me := genesis.Committee.Groups, types.Node{}
	for _, g := range genesis.Committee.Nodes {
		if g.Identity.Relay == n.relay.account.Address {
			me = g
		}
	}
	if ctx, err := n.ledger.Read(); err == nil && n.ledger.LastBlockHeight() > 0 {
		if groups, err = n.ledger.Committee.Groups(ctx); err != nil {
			return err
		}
		if me, _, err = n.ledger.Committee.Signer(ctx, n.relay.account.Address); err != nil {
			return err
		}
	}
	for _, g := range groups {
		if _, member := g.Member(me.Index); !member {
			continue
		}
		err := n.keys.load(g)
		if err != nil && g.Threshold() == 1 && (g.Round == 0 || !errors.Is(err, os.ErrNotExist)) {
			return err
		}
	}
	return nil
}

// accompany runs what a node does among others beside answering, and returns
// what waits for its end.
func (n *Node) accompany(ctx context.Context, home Home, settings Settings, genesis chain.Genesis) (wait func()) {
	ctx, cancel := context.WithCancel(ctx)
	ceremony := &ceremony{home: home, ledger: n.ledger, relay: n.relay, keys: n.keys, log: n.log, sent: map[string]time.Time{}, told: map[string]bool{}}
	company := &company{ledger: n.ledger, first: settings.Peers, loopback: settings.Loopback, log: n.log}
	for _, founder := range genesis.Committee.Nodes {
		company.first = append(company.first, founder.Peer)
	}
	var running sync.WaitGroup
	running.Go(func() { ceremony.run(ctx) })
	running.Go(func() { company.run(ctx) })
	running.Go(func() { n.relay.releases.run(ctx) })
	running.Go(func() { n.counts.follow(ctx, n.ledger) })
	return func() {
		cancel()
		running.Wait()
	}
}
