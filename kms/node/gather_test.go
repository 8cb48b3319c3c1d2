package node

import (
	"testing"
	"time"
)

// TestGather: a release that comes alone is sent at once; where many come, they
// wait for one another, and none for long.
func TestGather(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	for _, tt := range []struct {
		name    string
		waiting int
		flying  int
		last    int           // releases of the newest transaction
		sent    time.Duration // how long ago it was sent
		since   time.Duration // how long the oldest waits
		want    time.Duration
	}{
		{"nobody waits", 0, 1, 1, 0, 0, 0},
		{"alone", 1, 0, 1, time.Second, 0, 0},
		{"first of many", 1, 0, 20, time.Second, 10 * time.Millisecond, 90 * time.Millisecond},
		{"has waited", 1, 0, 20, time.Second, 100 * time.Millisecond, 0},
		{"long after many", 1, 0, 20, time.Minute, 0, 0},
		{"many", 8, 0, 20, time.Second, 0, 0},
		{"behind another", 1, 1, 1, 200 * time.Millisecond, 0, 300 * time.Millisecond},
		{"many behind another", 8, 1, 20, 40 * time.Millisecond, 0, 60 * time.Millisecond},
	} {
		b := &batch{flying: tt.flying, last: tt.last, sent: now.Add(-tt.sent)}
		for range tt.waiting {
			b.waiting = append(b.waiting, &waiter{since: now.Add(-tt.since)})
		}
		if got := max(0, b.gather(now)); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}
