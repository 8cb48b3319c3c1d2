//go:build faults

package faults

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

var other = flag.String("other", "", "another build of kmsd, for TestSameHash")

// TestSameHash has one build of kmsd record a chain and another compute it again
// from its blocks (scripts/same-hash makes the two builds).
func TestSameHash(t *testing.T) {
	if *other == "" {
		t.Skip("scripts/same-hash runs this with another build of kmsd")
	}

	// A chain with a key made by four nodes, shares made anew, grants, refusals,
	// advances.
	c := newChain(t, build(t, t.TempDir()), false)
	cfg := c.service(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w := &crowd{}
	var all sync.WaitGroup
	defer func() { cancel(); all.Wait() }()
	all.Go(func() { w.live(ctx, t, c, cfg, 1) })
	all.Go(func() { w.intrude(ctx, t, c, cfg, 2) })
	c.reshare(t)
	if _, ok := c.within(t, recovery, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.released) > 10 && w.advanced > 10 && w.refused > 2
	}); !ok {
		t.Fatalf("too little happens: %d releases, %d refusals", len(w.released), w.refused)
	}
	cancel()
	all.Wait()
	for _, p := range c.nodes {
		p.kill()
	}

	// Without the application's state, a node computes it from all blocks; CometBFT
	// holds every block to the hash that the validators signed, and ends otherwise.
	replay := func(program, name string) (string, string) {
		t.Helper()
		p := *c.nodes[0]
		p.program, p.log = program, filepath.Join(t.ArtifactDir(), name+".log")
		must(t, os.RemoveAll(filepath.Join(string(p.home), "data", "application.db")))
		said := p.says(t, regexp.MustCompile("(?s)(Applying block.*)Completed ABCI Handshake"))
		if n := strings.Count(said[1], "Applying block"); n < 30 {
			t.Errorf("%s computed %d blocks again, want all", name, n)
		}
		p.log += ".again" // it says at the next start how far it is
		said = p.says(t, regexp.MustCompile(`ABCI Handshake App Info[^\n]* height=(\d+) hash=(\S+)`))
		return said[1], said[2]
	}
	height, hash := replay(c.nodes[0].program, "this-build")
	otherHeight, otherHash := replay(*other, "other-build")
	if height != otherHeight || hash != otherHash {
		t.Errorf("block %s has app hash %s, and by the other build block %s has %s", height, hash, otherHeight, otherHash)
	}
	t.Logf("%s blocks with %d grants and %d refusals: both builds come to app hash %s", height, len(w.released), w.refused, hash)
}

// says runs a node until it has logged something.
func (p *process) says(t *testing.T, what *regexp.Regexp) []string {
	t.Helper()
	p.start(t)
	defer p.kill()
	for end := time.Now().Add(recovery); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		ended := p.ended()
		b, err := os.ReadFile(p.log)
		must(t, err)
		if said := what.FindStringSubmatch(string(b)); said != nil {
			return said
		}
		if ended {
			break
		}
	}
	t.Fatalf("%s does not say %q: %s", p.program, what, p.tail())
	return nil
}
