package node

import (
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/secretvm/secretvm/kms/wire"
	"github.com/secretvm/secretvm/vm"
)

// limiter bounds how often and how many at a time one kind of request is
// served: for everybody together, and for each address.
type limiter struct {
	all   *bucket
	each  map[string]*bucket
	slots chan struct{}

	mu        sync.Mutex
	now       func() time.Time
	perSecond float64
	burst     float64
}

// maxAddresses bounds the memory of per-address buckets. When it is reached,
// everybody starts anew; the bucket for all still holds.
const maxAddresses = 4096

// newLimiter serves perSecond requests of one address, ten times as many of
// all, with bursts of burst, and slots at a time.
func newLimiter(perSecond, burst float64, slots int, now func() time.Time) *limiter {
	return &limiter{
		all: &bucket{tokens: 10 * burst, at: now()}, each: make(map[string]*bucket), slots: make(chan struct{}, slots),
		now: now, perSecond: perSecond, burst: burst,
	}
}

// bucket is a token bucket: it fills with time and a request takes one.
type bucket struct {
	tokens float64
	at     time.Time
}

func (b *bucket) take(now time.Time, perSecond, burst float64) bool {
	if passed := now.Sub(b.at).Seconds(); passed > 0 {
		b.tokens = min(burst, b.tokens+passed*perSecond)
	}
	b.at = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

func (l *limiter) allow(address string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	b := l.each[address]
	if b == nil {
		if len(l.each) >= maxAddresses {
			clear(l.each)
		}
		b = &bucket{tokens: l.burst, at: now}
		l.each[address] = b
	}
	return b.take(now, l.perSecond, l.burst) && l.all.take(now, 10*l.perSecond, 10*l.burst)
}

// wrap answers 429 to what is too often, and 503 to what is too many at a time.
func (l *limiter) wrap(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		address, _, err := net.SplitHostPort(r.RemoteAddr)
		if err != nil {
			address = r.RemoteAddr
		}
		if !l.allow(address) {
			w.Header().Set("Retry-After", "1")
			wire.WriteJSON(w, http.StatusTooManyRequests, vm.Refuse(vm.CodeUnavailable, "too many requests").Try("wait a second"))
			return
		}
		select {
		case l.slots <- struct{}{}:
			defer func() { <-l.slots }()
			h.ServeHTTP(w, r)
		default:
			w.Header().Set("Retry-After", "1")
			wire.WriteRefusal(w, vm.Refuse(vm.CodeUnavailable, "the node is busy").Try("wait a second, or ask another node"))
		}
	})
}
