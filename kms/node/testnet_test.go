package node

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"time"

	committee "github.com/secretvm/secretvm/kms/chain/x/committee/types"
	"github.com/secretvm/secretvm/kms/wire"
	"github.com/secretvm/secretvm/tee/soft/emulator"
)

// cast is a chain of many whose nodes run in this process.
type cast struct {
	made  MadeTestnet
	pki   *emulator.PKI
	nodes []*station
}

// newCast makes a testnet and starts its nodes.
func newCast(t *testing.T, n int) *cast {
	t.Helper()
	c := &cast{}
	var err error
	c.pki, err = emulator.NewPKI(time.Now())
	must(t, err)
	c.made, err = Testnet(t.TempDir(), TestnetOptions{
		ChainID: "secretvm-test-4", Nodes: n, TrustRoots: []string{string(c.pki.RootPEM())},
		Params: func(p *committee.Params) { p.PhaseBlocks, p.PhaseSeconds, p.RetrySeconds = 5, 2, 1 },
	})
	must(t, err)
	for _, h := range c.made.Homes {
		s := &station{home: h.Home, pki: c.pki, logs: &lockedBuffer{}}
		c.nodes = append(c.nodes, s)
	}
	var starting sync.WaitGroup
	for _, s := range c.nodes {
		starting.Go(func() { s.launch(t) })
	}
	starting.Wait()
	for i, s := range c.nodes {
		if s.url == "" {
			t.Fatalf("node %d is not ready: %s", i+1, s.logs)
		}
	}
	return c
}

// launch starts a node of a cast; url stays empty when it does not get ready.
func (s *station) launch(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	ready, done := make(chan Running, 1), make(chan error, 1)
	go func() {
		done <- Run(ctx, Options{
			Home: s.home, Timing: fast, Log: slog.New(slog.NewTextHandler(s.logs, &slog.HandlerOptions{Level: slog.LevelInfo})),
			Ready: func(r Running) { ready <- r },
		})
	}()
	s.stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() { _ = s.stop() })
	select {
	case r := <-ready:
		s.url = r.API
	case <-time.After(40 * time.Second):
	}
}

// TestFourNodesMakeAKey: no dealer, no node with the whole key, and machines get
// theirs from any three.
func TestFourNodesMakeAKey(t *testing.T) {
	begin := time.Now()
	c := newCast(t, 4)
	t.Logf("ready after %s", time.Since(begin))
	var status wire.Status
	must(t, wire.Call(t.Context(), http.DefaultClient, http.MethodGet, c.nodes[0].url, wire.PathStatus, nil, &status))
	if status.Threshold != 3 || len(status.Nodes) != 4 {
		t.Fatalf("status is %+v, want 3 of 4", status)
	}
	first := c.nodes[0]
	owner, err := first.home.Owner()
	must(t, err)
	first.made = Made{Owner: owner.Address, ChainID: c.made.ChainID, GroupKey: status.GroupKey}
	cfg := first.service(t)
	first.mates = c.nodes[1:]
	session, key := first.disk(t, cfg)
	if key.IsZero() || session.Grant().Service != cfg.Service {
		t.Errorf("grant is %+v", session.Grant())
	}
}
