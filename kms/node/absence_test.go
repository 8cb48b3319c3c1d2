package node

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"
)

// TestK9_ForgottenSignaturesAreWaitedOut: a validator whose memory is older than
// the others' blocks does not sign before they are past what it may have signed,
// and waits for nobody who stands still, lies or is gone.
func TestK9_ForgottenSignaturesAreWaitedOut(t *testing.T) {
	const patience, limit = 400 * time.Millisecond, 2 * time.Second
	for _, tt := range []struct {
		name     string
		signed   int64
		heights  func(look int64) []int64 // of the others, at each look; 0 does not answer
		min, max time.Duration
		until    int64 // what the others must have reached
	}{
		{"up to date", 10, func(int64) []int64 { return []int64{10, 9, 10} }, 0, patience, 0},
		{"alone", 10, func(int64) []int64 { return []int64{0, 0, 0} }, 0, patience, 0},
		{"behind, the others go on", 3, func(look int64) []int64 { return []int64{10 + look/2, 0, 9} }, 0, limit, 12},
		{"behind, the others stand still", 3, func(int64) []int64 { return []int64{10, 0, 0} }, patience, limit, 0},
		{"a liar", 10, func(look int64) []int64 {
			if look == 0 {
				return []int64{1 << 40, 11, 11}
			}
			return []int64{1<<40 - 50 + look, 11 + look, 11}
		}, patience, limit, 0},
		{"they are gone meanwhile", 3, func(look int64) []int64 { return []int64{max(0, 10*(1-look))} }, patience, limit, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var looks, top atomic.Int64
			peers := []string{"a", "b", "c"}[:len(tt.heights(0))]
			a := absence{peers: peers, signed: tt.signed, patience: patience, limit: limit, log: slog.New(slog.DiscardHandler)}
			a.ask = func(_ context.Context, url string) (int64, error) {
				h := tt.heights(looks.Load())[url[0]-'a']
				if url == "a" {
					top.Store(h)
					defer looks.Add(1)
				}
				if h == 0 {
					return 0, errors.New("gone")
				}
				return h, nil
			}
			begin := time.Now()
			a.wait(t.Context())
			// A loaded computer is slow; it is never fast.
			if took := time.Since(begin); took < tt.min || took > tt.max+10*time.Second {
				t.Errorf("waited %s, want %s to %s", took, tt.min, tt.max)
			}
			if top.Load() < tt.until {
				t.Errorf("the others were at %d, want %d before this node signs", top.Load(), tt.until)
			}
		})
	}
}
