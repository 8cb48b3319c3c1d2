package node

import (
	"context"
	"log/slog"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/cometbft/cometbft/p2p"
)

// company keeps this node connected with the others: those that the settings
// name and those that the ledger names. CometBFT's own dialler waits for seconds
// before it dials, and longer each time; a committee is small, and wants its
// members back.
type company struct {
	ledger   *ledger
	first    []string // id@host:port
	loopback string   // host; see Settings
	log      *slog.Logger
}

// Times between looks at who is missing. Of two nodes one dials first, and the
// other only if that did not help: connections that cross are closed by both.
const (
	dialInterval  = 500 * time.Millisecond
	dialPatience  = 6  // looks
	dialMaxPause  = 20 // looks between two attempts at one address
	dialPauseStep = 2
)

// run dials until ctx ends.
func (c *company) run(ctx context.Context) {
	sw, ok := c.ledger.comet.Switch().(*p2p.Switch)
	if !ok {
		return
	}
	missed, tried := map[p2p.ID]int{}, map[p2p.ID]int{}
	tick := time.NewTicker(dialInterval)
	defer tick.Stop()
	for {
		for _, address := range c.addresses() {
			id := address.ID
			if id == sw.NodeInfo().ID() || sw.IsDialingOrExistingAddress(address) {
				missed[id], tried[id] = 0, 0
				continue
			}
			missed[id]++
			if sw.NodeInfo().ID() > id && missed[id] < dialPatience {
				continue
			}
			if pause := min(dialMaxPause, dialPauseStep*tried[id]); missed[id]%(pause+1) != 0 && tried[id] > 0 {
				continue
			}
			tried[id]++
			go func() {
				if err := sw.DialPeerWithAddress(address); err != nil {
					c.log.Debug("cannot connect to a node", "peer", address, "err", err)
				}
			}()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// addresses lists whom to be connected with.
func (c *company) addresses() []*p2p.NetAddress {
	texts := slices.Clone(c.first)
	if ctx, err := c.ledger.Read(); err == nil {
		if nodes, err := c.ledger.Committee.Nodes(ctx); err == nil {
			for _, n := range nodes {
				texts = append(texts, n.Peer)
			}
		}
	}
	var out []*p2p.NetAddress
	for _, text := range texts {
		address, err := p2p.NewNetAddressString(c.near(text)) // empty of a node that tells no address
		if err == nil && !slices.ContainsFunc(out, func(a *p2p.NetAddress) bool { return a.ID == address.ID }) {
			out = append(out, address)
		}
	}
	return out
}

// near is an address as this node's network has it.
func (c *company) near(text string) string {
	id, address, is := strings.Cut(text, "@")
	host, port, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); c.loopback == "" || !is || err != nil || ip == nil || !ip.IsLoopback() {
		return text
	}
	return id + "@" + net.JoinHostPort(c.loopback, port)
}
