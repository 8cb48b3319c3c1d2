//go:build faults

package faults

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/secretvm/secretvm/kms/wire"
	"github.com/secretvm/secretvm/vm"
)

// witness compares what nodes say of the same block.
type witness struct {
	mu     sync.Mutex
	blocks map[int64]string // hash by height
}

// watch looks at all nodes until ctx ends.
func (w *witness) watch(ctx context.Context, t *testing.T, c *chainOfFour) {
	for ctx.Err() == nil {
		var all sync.WaitGroup
		for _, p := range c.nodes {
			all.Go(func() {
				s, err := c.status(p)
				if err != nil {
					return
				}
				w.mu.Lock()
				defer w.mu.Unlock()
				if known, ok := w.blocks[s.Height]; ok && known != s.BlockHash.String() {
					c.violate(t, "block %d is %s and, by node %d, %s", s.Height, known, p.index, s.BlockHash)
				}
				w.blocks[s.Height] = s.BlockHash.String()
			})
		}
		all.Wait()
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// partial asks a node for its part of a key.
func (c *chainOfFour) partial(p *process, request wire.PartialsRequest) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	var answer wire.Partials
	return wire.Call(ctx, c.http, http.MethodPost, p.api, wire.PathPartials, request, &answer)
}

// compare asks all nodes for the newest grants and for some of the others: none
// may be lost, and all must say the same.
func (c *chainOfFour) compare(t *testing.T, w *crowd) {
	t.Helper()
	w.mu.Lock()
	grants := w.grants
	w.mu.Unlock()
	if len(grants) == 0 {
		t.Error("there is no grant")
		return
	}
	time.Sleep(2 * time.Second) // the last block reaches everybody
	seen := map[vm.Hash]bool{}
	for _, id := range grants {
		if seen[id] {
			c.violate(t, "grant %s was given to two boots", id)
		}
		seen[id] = true
	}
	step := max(1, len(grants)/100)
	for i := 0; i < len(grants); i += step {
		id, said := grants[len(grants)-1-i], ""
		for _, p := range c.nodes {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			var g wire.Grant
			err := wire.Call(ctx, c.http, http.MethodGet, p.api, wire.PathGrants+"/"+id.String(), nil, &g)
			cancel()
			if err != nil {
				c.violate(t, "node %d has lost grant %s: %v", p.index, id, err)
				continue
			}
			b, err := json.Marshal(g)
			must(t, err)
			if said == "" {
				said = string(b)
			}
			if said != string(b) {
				c.violate(t, "node %d says %s of a grant, others %s", p.index, b, said)
			}
		}
		time.Sleep(25 * time.Millisecond)
	}
}

// confess reads in every node's log whether a validator was seen to sign two
// different things for one place.
func (c *chainOfFour) confess(t *testing.T) {
	t.Helper()
	for _, p := range c.nodes {
		b, err := os.ReadFile(p.log)
		must(t, err)
		for line := range strings.Lines(string(b)) {
			if strings.Contains(line, "conflicting vote") || strings.Contains(line, "evidence of byzantine") {
				c.violate(t, "node %d saw a validator sign twice: %.300s", p.index, line)
				break
			}
		}
	}
}
