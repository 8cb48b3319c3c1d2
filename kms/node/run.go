package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/secretvm/secretvm/kms/api"
	"github.com/secretvm/secretvm/kms/signer"
)

// Options say how a node runs.
type Options struct {
	Home   Home
	Listen string // host:port of the HTTP interface; port 0 is any free one, empty the one of the settings
	GRPC   string // host:port of the gRPC interface; empty for none
	Timing Timing
	Log    *slog.Logger
	Ready  func(Running) // called once, when releases can be decided
	// Machine proves what this node runs, to be admitted; nil: nothing does.
	Machine Machine
}

// Running describes a node that serves.
type Running struct {
	Ready   bool   `json:"ready"`
	API     string `json:"api"`
	GRPC    string `json:"grpc,omitempty"` // host:port
	ChainID string `json:"chain_id"`
	Height  int64  `json:"height"`
}

// Node serves one home.
type Node struct {
	ledger  *ledger
	public  *api.API
	relay   *relay
	keys    *keyring
	counts  counts
	self    identity
	machine Machine         // that this node runs in; nil: none that proves it
	genesis json.RawMessage // the file's bytes
	rate    float64         // releases a second of one address
	now     func() time.Time
	log     *slog.Logger
}

// stopTimeout is how long requests that are under way may take at the end.
const stopTimeout = 5 * time.Second

// Run serves a home until ctx ends, then stops in order. The state survives
// being killed at any moment as well.
func Run(ctx context.Context, o Options) (err error) {
	// Genesis names the chain, the group and what this node's share must be.
	doc, state, err := o.Home.readGenesis()
	if err != nil {
		return err
	}
	genesis, err := os.ReadFile(o.Home.genesis())
	if err != nil {
		return fmt.Errorf("read genesis: %w", err)
	}
	settings, err := o.Home.readSettings()
	if err != nil {
		return err
	}
	account, err := signer.Load(o.Home.relay())
	if err != nil {
		return err
	}
	self, err := o.Home.identity()
	if err != nil {
		return err
	}

	// The port comes before the chain: a port that is taken is the common error.
	if o.Listen == "" {
		o.Listen = settings.Listen
	}
	listener, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", o.Listen, err)
	}
	door := &door{}
	server := newServer(door, o.Log)
	defer func() { _ = server.Close() }()
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()

	// The chain: application state, consensus, and this process between them.
	ledger, err := openLedger(ctx, o.Home, doc, settings, o.Timing, o.Log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ledger.close()) }()

	// The interfaces.
	public, err := api.New(ledger.App, ledger.local)
	if err != nil {
		return err
	}
	grpcAddress, stopGRPC, err := serveGRPC(ctx, o.GRPC, public)
	if err != nil {
		return err
	}
	defer stopGRPC()
	n := &Node{ledger: ledger, public: public, relay: newRelay(account, ledger), keys: newKeyring(o.Home), self: self, machine: o.Machine, genesis: genesis, rate: settings.ReleaseRate, now: time.Now, log: o.Log}
	if err := n.loadShares(state); err != nil {
		return err
	}
	door.open(n.handler())
	url := "http://" + listener.Addr().String()
	if err := signer.WriteFile(o.Home.endpoint(), []byte(url+"\n")); err != nil {
		return errors.Join(err, server.Close())
	}

	// The node's part among the others.
	settled := n.accompany(ctx, o.Home, settings, state)
	defer settled()

	// Tell who waits, once blocks are made.
	go n.announce(ctx, Running{API: url, GRPC: grpcAddress}, o.Ready)

	select {
	case err = <-served:
	case reason := <-ledger.said:
		err = errors.Join(ended(reason), server.Close()) // whoever watches the process starts it again
		if closed := <-served; !errors.Is(closed, http.ErrServerClosed) {
			err = errors.Join(err, closed)
		}
	case <-ctx.Done():
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		err = server.Shutdown(stop)
		if ended := <-served; err == nil {
			err = ended
		}
	}
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return err
}

// announce calls ready once the chain makes blocks and has one that a release
// may name. After a pause the first block is not: its time is that of the votes
// for the block before, so it takes the second.
func (n *Node) announce(ctx context.Context, r Running, ready func(Running)) {
	for {
		height, err := n.ledger.nextBlock(ctx)
		if err != nil {
			return // the node is stopping
		}
		if _, err := n.ledger.status(n.now()); err != nil {
			continue
		}
		r.Ready, r.ChainID, r.Height = true, n.ledger.ChainID(), height
		n.log.Info("serving", "api", r.API, "chain_id", r.ChainID, "height", r.Height)
		if ready != nil {
			ready(r)
		}
		return
	}
}
