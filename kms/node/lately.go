package node

import (
	"sync"
	"time"
)

// lately is how long decisions about releases have taken at this node: a mean in
// which the newest eight or so count. Machines are told it, and give a node that
// is busy the time that it needs, instead of asking the others for the same.
type lately struct {
	mu   sync.Mutex
	mean time.Duration
	at   time.Time // of the newest
}

// latelyMemory is how long a decision says anything about the next.
const latelyMemory = 5 * time.Second

func (l *lately) add(took time.Duration, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.at) > latelyMemory {
		l.mean = took
	} else {
		l.mean += (took - l.mean) / 8
	}
	l.at = now
}

// millis is the mean, 0 when nothing was decided lately.
func (l *lately) millis(now time.Time) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.at) > latelyMemory {
		return 0
	}
	return uint64(max(0, l.mean.Milliseconds()))
}
