package node

import (
	"testing"
	"time"
)

// TestLately: the newest decisions say how long the next will take, and old ones
// say nothing.
func TestLately(t *testing.T) {
	var l lately
	now := time.Unix(1_800_000_000, 0)
	if got := l.millis(now); got != 0 {
		t.Errorf("before any decision: %d ms", got)
	}
	l.add(80*time.Millisecond, now)
	if got := l.millis(now); got != 80 {
		t.Errorf("after the first: %d ms, want 80", got)
	}
	for range 40 {
		now = now.Add(10 * time.Millisecond)
		l.add(time.Second, now)
	}
	if got := l.millis(now); got < 950 || got > 1000 {
		t.Errorf("of many that took a second: %d ms", got)
	}
	now = now.Add(latelyMemory + time.Millisecond)
	if got := l.millis(now); got != 0 {
		t.Errorf("long after: %d ms", got)
	}
	l.add(90*time.Millisecond, now)
	if got := l.millis(now); got != 90 {
		t.Errorf("after a pause: %d ms, want 90", got)
	}
}

// TestPause: blocks with a few releases follow each other as fast as ever, full
// ones more slowly, up to a bound.
func TestPause(t *testing.T) {
	timing := Timing{Commit: 60 * time.Millisecond}
	for bytes, want := range map[int]time.Duration{
		0: 60 * time.Millisecond, fewBytes: 60 * time.Millisecond, 2 * fewBytes: 120 * time.Millisecond,
		4 * fewBytes: 240 * time.Millisecond, 20 << 20: 240 * time.Millisecond,
	} {
		if got := timing.pause(bytes); got != want {
			t.Errorf("after %d bytes: %v, want %v", bytes, got, want)
		}
	}
}
