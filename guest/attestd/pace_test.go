package attestd

import (
	"context"
	"errors"
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
// asks now and then is answered as soon as the device has.
func TestA6_DeviceRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		device := &sleeper{}
		gate := newQuoteGate(device, func(time.Duration, error) {})
		start := time.Now()
		if _, err := gate.Quote(t.Context(), [64]byte{}); err != nil || time.Since(start) != 100*time.Millisecond {
			t.Errorf("the first takes %v, %v", time.Since(start), err)
		}
		for time.Since(start) < time.Minute {
			if _, err := gate.Quote(t.Context(), [64]byte{}); err != nil {
				t.Fatal(err)
			}
		}
		if share := float64(device.quotes) * 0.1 / time.Since(start).Seconds(); share < 0.45 || share > 0.55 {
			t.Errorf("a flood keeps the device busy %.0f %% of the time, want half", 100*share)
		}
		time.Sleep(time.Minute)
		for range 5 {
			asked := time.Now()
			if _, err := gate.Quote(t.Context(), [64]byte{}); err != nil || time.Since(asked) != 100*time.Millisecond {
				t.Errorf("one who asks now and then waits %v, %v", time.Since(asked), err)
			}
			time.Sleep(time.Second)
		}
	})
}
