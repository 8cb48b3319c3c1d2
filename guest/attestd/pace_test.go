package attestd

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/secretvm/secretvm/vm"
)

// TestA6_RateIsBounded: a burst passes at once, then work passes at its rate,
// and who would wait too long is turned away at once.
func TestA6_RateIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pacer{burst: time.Second, patience: 2 * time.Second}
		start := time.Now()
		for i := range 10 {
			if err := p.take(t.Context(), 100*time.Millisecond); err != nil || time.Since(start) != 0 {
				t.Fatalf("piece %d of the burst waits %v, %v", i, time.Since(start), err)
			}
		}
		for i := 1; i <= 5; i++ {
			if err := p.take(t.Context(), 100*time.Millisecond); err != nil || time.Since(start) != time.Duration(i)*100*time.Millisecond {
				t.Fatalf("piece %d after the burst: at %v, %v", i, time.Since(start), err)
			}
		}
		late := time.Now()
		if err := p.take(t.Context(), time.Hour); !errors.Is(err, errBusy) || time.Since(late) != 0 {
			t.Errorf("who would wait an hour waits %v, %v", time.Since(late), err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err := p.take(ctx, time.Second); !errors.Is(err, errBusy) || time.Since(late) != 50*time.Millisecond {
			t.Errorf("who goes away is kept for %v, %v", time.Since(late), err)
		}
		time.Sleep(time.Hour)
		if err := p.take(t.Context(), time.Second); err != nil || time.Since(late) != time.Hour+50*time.Millisecond {
			t.Errorf("after a calm hour: %v", err)
		}
	})
}

// sleeper is a device that takes its time.
type sleeper struct{ quotes int }

func (s *sleeper) Quote(context.Context, [64]byte) (vm.Evidence, error) {
	s.quotes++
	time.Sleep(100 * time.Millisecond)
	return vm.Evidence{}, nil
}

// TestA6_DeviceRests: a flood keeps the device busy half of the time; one who
// asks alone is answered as soon as the device has.
func TestA6_DeviceRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		device := &sleeper{}
		gate := newQuoteGate(device, func(time.Duration, error) {})
		for range 100 {
			asked := time.Now()
			if _, err := gate.Quote(t.Context(), [64]byte{}); err != nil || time.Since(asked) != 100*time.Millisecond {
				t.Fatalf("one who asks alone waits %v, %v", time.Since(asked), err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		device.quotes = 0
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				for ctx.Err() == nil {
					_, _ = gate.Quote(ctx, [64]byte{})
				}
			})
		}
		all.Wait()
		if share := float64(device.quotes) * 0.1 / 60; share < 0.45 || share > 0.55 {
			t.Errorf("a flood keeps the device busy %.0f %% of the time, want half", 100*share)
		}
		asked := time.Now()
		if _, err := gate.Quote(t.Context(), [64]byte{}); err != nil || time.Since(asked) > 300*time.Millisecond {
			t.Errorf("after the flood one waits %v, %v", time.Since(asked), err)
		}
	})
}

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
