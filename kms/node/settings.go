package node

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	cmtconfig "github.com/cometbft/cometbft/config"

	"github.com/secretvm/secretvm/kms/signer"
)

// Settings are what an operator may change of a node: config/node.json. Nothing
// in them is trusted by anybody else.
type Settings struct {
	Listen     string   `json:"listen,omitempty"`      // host:port of the interface, unless the command line says another
	PeerListen string   `json:"peer_listen,omitempty"` // host:port where other nodes connect
	Peers      []string `json:"peers,omitempty"`       // id@host:port of nodes to begin with; the ledger names more
	Profile    Profile  `json:"profile,omitempty"`
	// Loopback is where this node finds what other nodes call 127.0.0.1, in a machine
	// whose network is another than theirs; empty: there.
	Loopback string `json:"loopback,omitempty"`
	// KeepBlocks is how many blocks stay for nodes that catch up; 0 keeps all. A
	// chain on which no node keeps all takes new nodes from a copy of a home's data.
	KeepBlocks uint64 `json:"keep_blocks,omitempty"`
	// ReleaseRate is how many releases one address may ask for in a second, and
	// all together ten times as many.
	ReleaseRate float64 `json:"release_rate,omitempty"`
}

// Profile is what kind of network lies between the nodes.
type Profile string

// The profiles.
const (
	ProfileLocal Profile = "local" // one machine or one data centre
	ProfileWide  Profile = "wide"  // the Internet
)

// Defaults of settings that are left out.
const (
	DefaultListen     = "127.0.0.1:29380" // this machine only
	defaultPeerListen = "127.0.0.1:0"
	defaultRate       = 20
	minKeepBlocks     = 200 // more than the application keeps states
)

// readSettings reads config/node.json; a home without one has the defaults.
func (h Home) readSettings() (Settings, error) {
	s := Settings{Listen: DefaultListen, PeerListen: defaultPeerListen, Profile: ProfileLocal, ReleaseRate: defaultRate}
	b, err := os.ReadFile(h.settings())
	if errors.Is(err, os.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, fmt.Errorf("read settings: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&s); err != nil {
		return s, fmt.Errorf("read settings %s: %w", h.settings(), err)
	}
	if s.Profile != ProfileLocal && s.Profile != ProfileWide {
		return s, fmt.Errorf("read settings %s: profile is %q, want %s or %s", h.settings(), s.Profile, ProfileLocal, ProfileWide)
	}
	if s.ReleaseRate <= 0 || s.KeepBlocks != 0 && s.KeepBlocks < minKeepBlocks {
		return s, fmt.Errorf("read settings %s: release_rate is %g and keep_blocks %d, want more than 0 and at least %d", h.settings(), s.ReleaseRate, s.KeepBlocks, minKeepBlocks)
	}
	return s, nil
}

func (h Home) writeSettings(s Settings) error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("encode settings: %w", err)
	}
	return signer.WriteFile(h.settings(), append(b, '\n'))
}

// apply tunes CometBFT. Near one another, nodes gossip at once and give up a
// silent proposer quickly; the library's own times are for the Internet.
func (s Settings) apply(c *cmtconfig.Config) {
	c.P2P.ListenAddress = "tcp://" + s.PeerListen
	c.P2P.SendRate, c.P2P.RecvRate = 64<<20, 64<<20 // evidence is large
	if s.Profile == ProfileLocal {
		c.P2P.FlushThrottleTimeout = time.Millisecond
		c.Consensus.PeerGossipSleepDuration = 10 * time.Millisecond
		c.Consensus.PeerQueryMaj23SleepDuration = 500 * time.Millisecond
		c.Consensus.TimeoutPropose = 300 * time.Millisecond
		c.Consensus.TimeoutProposeDelta = 100 * time.Millisecond
		c.Consensus.TimeoutPrevote = 200 * time.Millisecond
		c.Consensus.TimeoutPrevoteDelta = 100 * time.Millisecond
		c.Consensus.TimeoutPrecommit = 200 * time.Millisecond
		c.Consensus.TimeoutPrecommitDelta = 100 * time.Millisecond
	}
}
