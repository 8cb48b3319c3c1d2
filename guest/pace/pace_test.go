package pace

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
		p := &Pacer{Burst: time.Second, Patience: 2 * time.Second}
		start := time.Now()
		for i := range 10 {
			if err := p.Take(t.Context(), 100*time.Millisecond); err != nil || time.Since(start) != 0 {
				t.Fatalf("piece %d of the burst waits %v, %v", i, time.Since(start), err)
			}
		}
		for i := 1; i <= 5; i++ {
			if err := p.Take(t.Context(), 100*time.Millisecond); err != nil || time.Since(start) != time.Duration(i)*100*time.Millisecond {
				t.Fatalf("piece %d after the burst: at %v, %v", i, time.Since(start), err)
			}
		}
		late := time.Now()
		if err := p.Take(t.Context(), time.Hour); !errors.Is(err, ErrBusy) || time.Since(late) != 0 {
			t.Errorf("who would wait an hour waits %v, %v", time.Since(late), err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err := p.Take(ctx, time.Second); !errors.Is(err, ErrBusy) || time.Since(late) != 50*time.Millisecond {
			t.Errorf("who goes away is kept for %v, %v", time.Since(late), err)
		}
		time.Sleep(time.Hour)
		if err := p.Take(t.Context(), time.Second); err != nil || time.Since(late) != time.Hour+50*time.Millisecond {
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
		gate := NewGate(device, 768, nil)
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

// TestA6_StrictGateRests: even one who asks alone leaves half of the device to others.
func TestA6_StrictGateRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		device := &sleeper{}
		gate := NewGate(device, 8, nil)
		gate.Strict = true
		start := time.Now()
		for range 100 {
			if _, err := gate.Quote(t.Context(), [64]byte{}); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(start); took < 17*time.Second || took > 20*time.Second {
			t.Errorf("10 s of quotes take %v, want them and their rests, but for the burst", took)
		}
	})
}

// shared is a device that two gates ask, one quote at a time.
type shared struct {
	turn chan struct{}
	sleeper
}

func (s *shared) Quote(ctx context.Context, rd [64]byte) (vm.Evidence, error) {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	return s.sleeper.Quote(ctx, rd)
}

// TestA6_ContainersLeaveTheDevice: while containers flood their gate, a stranger
// at the other waits for the quote that is being made, and no longer.
func TestA6_ContainersLeaveTheDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		device := &shared{turn: make(chan struct{}, 1)}
		containers, strangers := NewGate(device, 256, nil), NewGate(device, 768, nil)
		containers.Strict = true
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				for ctx.Err() == nil {
					_, _ = containers.Quote(ctx, [64]byte{})
				}
			})
		}
		time.Sleep(10 * time.Second) // the burst is over
		var waited time.Duration
		const n = 200
		for range n {
			asked := time.Now()
			if _, err := strangers.Quote(t.Context(), [64]byte{}); err != nil || time.Since(asked) > 200*time.Millisecond {
				t.Fatalf("a stranger waits %v, %v", time.Since(asked), err)
			}
			waited += time.Since(asked)
			time.Sleep(137 * time.Millisecond)
		}
		if mean := waited / n; mean > 160*time.Millisecond {
			t.Errorf("strangers wait %v on average for a quote of 100 ms", mean)
		}
		cancel()
		all.Wait()
	})
}

func TestA6_WaitIsBounded(t *testing.T) {
	quoter := &hanging{hold: make(chan struct{})}
	defer close(quoter.hold)
	gate := NewGate(quoter, 768, nil)
	gate.Timeout = 20 * time.Millisecond
	go gate.Quote(context.Background(), [64]byte{}) // hangs: that is the point
	for quoter.calls.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	if _, err := gate.Quote(t.Context(), [64]byte{}); !errors.Is(err, ErrBusy) {
		t.Errorf("waiting for a quote that hangs: %v, want %v", err, ErrBusy)
	}
}

// hanging is a device that never answers.
type hanging struct {
	calls atomic.Int64
	hold  chan struct{}
}

func (h *hanging) Quote(context.Context, [64]byte) (vm.Evidence, error) {
	h.calls.Add(1)
	<-h.hold
	return vm.Evidence{}, nil
}
