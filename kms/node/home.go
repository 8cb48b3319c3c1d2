package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	cmtconfig "github.com/cometbft/cometbft/config"
	cmttypes "github.com/cometbft/cometbft/types"

	"github.com/secretvm/secretvm/kms/chain"
	"github.com/secretvm/secretvm/kms/signer"
)

// Home is a node's folder. Everything in it is the node's own; share, keys and
// validator key are secrets.
type Home string

// The files of a home beyond CometBFT's.
func (h Home) genesis() string  { return filepath.Join(string(h), "config", "genesis.json") }
func (h Home) shares() string   { return filepath.Join(string(h), "shares") }
func (h Home) owner() string    { return filepath.Join(string(h), "keys", "owner.json") }
func (h Home) relay() string    { return filepath.Join(string(h), "keys", "relay.json") }
func (h Home) sealing() string  { return filepath.Join(string(h), "keys", "sealing.json") }
func (h Home) settings() string { return filepath.Join(string(h), "config", "node.json") }
func (h Home) rounds() string   { return filepath.Join(string(h), "rounds") }
func (h Home) endpoint() string { return filepath.Join(string(h), "endpoint") }
func (h Home) data() string     { return filepath.Join(string(h), "data") }

// share is the file of one share.
func (h Home) share(epoch, round uint64) string {
	return filepath.Join(h.shares(), fmt.Sprintf("%d-%d.json", epoch, round))
}

// Exists reports whether the folder holds a chain. The genesis file is the last
// that Init writes, so that an interrupted Init is no chain and can be repeated.
func (h Home) Exists() bool {
	_, err := os.Stat(h.genesis())
	return err == nil
}

// Owner returns the local development account.
func (h Home) Owner() (signer.Account, error) { return signer.Load(h.owner()) }

// Endpoint returns the URL of the node that runs, or ran last, in this home.
func (h Home) Endpoint() (string, error) {
	b, err := os.ReadFile(h.endpoint())
	if err != nil {
		return "", fmt.Errorf("find the running node: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// readGenesis reads the genesis file and the application's state in it.
func (h Home) readGenesis() (*cmttypes.GenesisDoc, chain.Genesis, error) {
	var state chain.Genesis
	doc, err := cmttypes.GenesisDocFromFile(h.genesis())
	if err != nil {
		return nil, state, fmt.Errorf("read genesis (make a home with kmsd init): %w", err)
	}
	if state, err = appState(doc); err != nil {
		return nil, state, fmt.Errorf("read genesis %s: %w", h.genesis(), err)
	}
	return doc, state, nil
}

// appState reads the application's state in a genesis file.
func appState(doc *cmttypes.GenesisDoc) (state chain.Genesis, err error) {
	if err := json.Unmarshal(doc.AppState, &state); err != nil {
		return state, err
	}
	if len(state.Committee.Nodes) == 0 {
		return state, errors.New("it was made by an older kmsd, whose chains this one does not read (make a new home with kmsd init)")
	}
	return state, state.Validate()
}

// cometConfig is CometBFT's configuration. Its RPC is off: the interface of
// package wire is all that listens, beside the peers' port.
func (h Home) cometConfig(t Timing) *cmtconfig.Config {
	c := cmtconfig.DefaultConfig()
	c.SetRoot(string(h))
	c.Moniker = "kmsd"
	c.PrivValidatorState = signed
	c.RPC.ListenAddress = ""
	c.P2P.PexReactor = false
	c.P2P.AllowDuplicateIP = true
	c.TxIndex.Indexer = "null"
	c.Storage.DiscardABCIResponses = true
	c.Mempool.Size = 256
	c.Mempool.Broadcast = false // see spread
	c.Mempool.MaxTxBytes = 1 << 20
	c.Mempool.MaxTxsBytes = 32 << 20
	c.Consensus.TimeoutCommit = t.Commit
	c.Consensus.CreateEmptyBlocks = true
	c.Consensus.CreateEmptyBlocksInterval = t.Idle
	c.Consensus.DoubleSignCheckHeight = 0
	return c
}

// State reads the application's state in a genesis file, or an export.
func State(doc *cmttypes.GenesisDoc) (chain.Genesis, error) { return appState(doc) }
