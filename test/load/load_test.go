//go:build load

package load

import (
	"context"
	"errors"
	"flag"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/secretvm/secretvm/vm"
)

var (
	built   = flag.String("kmsd", "", "kmsd that was built before; empty: it is built")
	folder  = flag.String("folder", "", "folder for homes, logs and profiles that stays; empty: one that does not")
	alone   = flag.Int("alone", 200, "releases of one machine after the other")
	down    = flag.Int("down", 100, "releases with one node killed")
	length  = flag.Duration("length", time.Minute, "how long machines ask at the same time")
	crowd   = flag.Int("crowd", 128, "how many machines ask at the same time")
	profile = flag.Duration("profile", 20*time.Second, "how much of that is profiled")
)

// TestNumbers measures, in this order: releases one after the other, then many
// at the same time, then one after the other again with a node killed.
func TestNumbers(t *testing.T) {
	dir := *folder
	if dir == "" {
		dir = t.TempDir()
	}
	c := newCommittee(t, dir)
	cfg := c.service(t)
	machines := make([]*machine, *crowd)
	for i := range machines {
		var err error
		machines[i], err = c.boot(cfg, i+1)
		must(t, err)
	}

	report("")
	report("one machine after the other, %d releases, from asking to the verified key (the quote's own time taken off):", *alone)
	report("  %s", spread(c.inTurn(t, machines[0], *alone)))

	report("")
	c.together(t, machines, dir)

	report("")
	report("one node killed, one machine after the other, %d releases:", *down)
	c.nodes[3].kill()
	report("  %s", spread(c.inTurn(t, machines[0], *down)))
}

// inTurn has one machine ask n times, each time like a boot.
func (c *committee) inTurn(t *testing.T, m *machine, n int) (took []time.Duration) {
	t.Helper()
	for range n {
		d, err := m.release(t.Context())
		must(t, err)
		took = append(took, d)
	}
	return took
}

// together has all machines ask again and again.
func (c *committee) together(t *testing.T, machines []*machine, dir string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), *length)
	defer cancel()
	report("%d machines at the same time for %s, on %d processors:", len(machines), *length, cores())
	start, err := c.nodes[0].status(t.Context())
	must(t, err)
	before, begin := c.usage(t), time.Now()

	var wg sync.WaitGroup
	var mu sync.Mutex
	var took []time.Duration
	failed := map[vm.Code]int{}
	for _, m := range machines {
		wg.Go(func() {
			for ctx.Err() == nil {
				d, err := m.release(ctx)
				mu.Lock()
				switch {
				case err == nil:
					took = append(took, d)
				case !errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
					if failed[vm.CodeOf(err)]++; failed[vm.CodeOf(err)] < 4 {
						t.Error(err)
					}
				}
				mu.Unlock()
			}
		})
	}
	path := filepath.Join(dir, "together.pprof")
	profiled := make(chan error, 1)
	go func() {
		time.Sleep(*length / 4)
		profiled <- c.nodes[0].fetchProfile(t.Context(), path, *profile)
	}()
	done := 0
	for tick := time.Tick(10 * time.Second); ctx.Err() == nil; {
		select {
		case <-tick:
		case <-ctx.Done():
		}
		mu.Lock()
		now := len(took)
		mu.Unlock()
		all, anonymous := 0.0, 0.0
		for _, p := range c.nodes {
			a, b := p.memory(t)
			all, anonymous = all+a/4, anonymous+b/4
		}
		report("  after %3.0f s: %6d releases, %4d since; memory of a node %4.0f MiB, %4.0f MiB without files", time.Since(begin).Seconds(), now, now-done, all, anonymous)
		done = now
	}
	wg.Wait()
	passed := time.Since(begin)
	nodes, guests := c.usage(t).since(before)
	must(t, <-profiled)
	end, err := c.nodes[0].status(t.Context())
	must(t, err)

	n := len(took)
	if n == 0 {
		t.Fatal("nobody got a key")
	}
	each := func(d time.Duration) float64 { return 1000 * d.Seconds() / float64(n) }
	report("  %.0f releases a second; %s", float64(n)/passed.Seconds(), spread(took))
	report("  processor time of a release: %.1f ms in the four nodes, %.1f ms in the machine and the emulated TEE; used %.0f %% of %d", each(nodes), each(guests), 100*(nodes+guests).Seconds()/passed.Seconds(), 100*cores())
	waits, why := 0, ""
	for _, m := range machines {
		if waits += m.waits; m.waits > 0 {
			why = ", for example because " + m.waited
		}
	}
	report("  machines had to ask again %d times%s", waits, why)
	report("  %d blocks, %.1f releases in each", end.Height-start.Height, float64(n)/float64(max(1, end.Height-start.Height)))
	showProfile(t, c.program, path)
}
