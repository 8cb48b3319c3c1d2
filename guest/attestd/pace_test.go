package attestd

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestA6_WorkIsAQuarter: whatever a piece of work costs on this processor, all
// of them take a quarter of it; work that is not ours does not count against
// who asks now and then.
func TestA6_WorkIsAQuarter(t *testing.T) {
	for _, cost := range []time.Duration{200 * time.Microsecond, 2 * time.Millisecond, 20 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			var used time.Duration
			g := newGovernor(func() time.Duration { return used })
			var all sync.WaitGroup
			var pieces atomic.Int64
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			for range 100 {
				all.Go(func() {
					for ctx.Err() == nil {
						if g.take(ctx) == nil {
							pieces.Add(1)
							g.mu.Lock()
							used += cost
							g.mu.Unlock()
						}
					}
				})
			}
			time.Sleep(10 * time.Second) // it has learnt what a piece costs
			from := pieces.Load()
			time.Sleep(40 * time.Second)
			if share := float64(pieces.Load()-from) * cost.Seconds() / 40; share < 0.15 || share > 0.27 {
				t.Errorf("pieces of %v take %.0f %% of the processor, want 25", cost, 100*share)
			}
			cancel()
			all.Wait()
			time.Sleep(time.Minute)
			for range 10 { // the machine works for itself
				used += 5 * time.Second
				asked := time.Now()
				if err := g.take(t.Context()); err != nil || time.Since(asked) != 0 {
					t.Errorf("one who asks now and then waits %v, %v", time.Since(asked), err)
				}
				time.Sleep(10 * time.Second)
			}
		})
	}
}

// TestOneExpensiveSecondIsForgotten: who was slowed down because the processor was
// busy then asks as fast as it goes when it is not.
func TestOneExpensiveSecondIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var used time.Duration
		g := newGovernor(func() time.Duration { return used })
		ask := func(n int, cost time.Duration) time.Duration {
			start := time.Now()
			for range n {
				if err := g.take(t.Context()); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Millisecond)
				used += cost
			}
			return time.Since(start)
		}
		ask(2000, 30*time.Millisecond)
		ask(100, time.Millisecond)
		if took := ask(100, time.Millisecond); took > time.Second {
			t.Errorf("100 pieces of 1 ms take %v", took)
		}
	})
}
