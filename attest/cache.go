package attest

import (
	"container/list"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"time"

	"github.com/secretvm/secretvm/vm"
)

// CacheOptions bound what a Verifier remembers, in entries: an entry of a
// chain takes about 16 KiB, one of collateral at most a few times
// vm.MaxCollateralSize and usually 20 KiB. Zero means the defaults, 1024 and 64.
type CacheOptions struct {
	Chains     int // certificate chains of platforms, and as many of their attestation keys
	Collateral int // sets of collateral
}

// Verifier gives the verdicts of Verify, faster: it remembers which chains and
// which collateral it has found to be genuine, by the hash of their bytes and
// of everything else that this rested on. Only success is remembered, and an
// entry counts only at times for which it was found; whatever depends on the
// policy or on a single quote is checked each time. So a Verifier never says
// something else than Verify. It may be used concurrently.
type Verifier struct{ memory *memory }

// NewVerifier makes a Verifier that remembers nothing yet.
func NewVerifier(o CacheOptions) *Verifier {
	if o.Chains <= 0 {
		o.Chains = 1024
	}
	if o.Collateral <= 0 {
		o.Collateral = 64
	}
	return &Verifier{&memory{
		platforms: store[platform]{limit: o.Chains},
		keys:      store[*ecdsa.PublicKey]{limit: o.Chains},
		said:      store[said]{limit: o.Collateral},

		endorsements: store[endorsement]{limit: o.Chains},
		signatures:   signatures{store[struct{}]{limit: 4 * o.Chains}},
	}}
}

// Verify is like the function Verify.
func (v *Verifier) Verify(ev vm.Evidence, o Options) (vm.Verdict, error) {
	return v.memory.verify(ev, o)
}

// Remembered says how often a Verifier looked for something that it had found
// genuine before, and how often it was there.
type Remembered struct{ Asked, Found uint64 }

// Remembered returns such counts by what was looked for.
func (v *Verifier) Remembered() map[string]Remembered {
	m := v.memory
	return map[string]Remembered{
		"platform": m.platforms.counted(), "key": m.keys.counted(), "collateral": m.said.counted(), "endorsement": m.endorsements.counted(),
	}
}

// memory holds what one Verifier remembers; nil remembers nothing.
type memory struct {
	platforms store[platform]         // PCK certificate chains
	keys      store[*ecdsa.PublicKey] // attestation keys that a quoting enclave vouches for
	said      store[said]             // Intel's collateral

	endorsements store[endorsement] // certificates beside SNP reports, with AMD's collateral
	signatures   signatures         // around NVIDIA devices, small ones
}

// span is the time for which something holds, both ends inclusive.
type span struct{ from, until time.Time }

// A signature does not age, but the certificate of its key does: what holds
// always is remembered and asked for at any time, say this one.
var (
	anyTime = time.Unix(0, 0)
	always  = span{anyTime, anyTime}
)

func (s span) holds(at time.Time) bool { return !at.Before(s.from) && !at.After(s.until) }

// join returns the time for which both hold.
func (s span) join(other span) span {
	if other.from.After(s.from) {
		s.from = other.from
	}
	if other.until.Before(s.until) {
		s.until = other.until
	}
	return s
}

// store remembers values that do not change, the most recently used ones.
type store[T any] struct {
	limit   int
	mu      sync.Mutex
	entries map[vm.Hash]*list.Element // of entry[T]
	recent  list.List                 // most recently used first
	count   Remembered
}

type entry[T any] struct {
	key   vm.Hash
	value T
	span  span
}

// get returns the value of key if it holds at the given time.
func (s *store[T]) get(key vm.Hash, at time.Time) (value T, valid span, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count.Asked++
	element, ok := s.entries[key]
	if !ok {
		return value, valid, false
	}
	found := element.Value.(entry[T])
	if !found.span.holds(at) {
		return value, valid, false
	}
	s.count.Found++
	s.recent.MoveToFront(element)
	return found.value, found.span, true
}

// counted returns how often the store was asked.
func (s *store[T]) counted() Remembered {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}

// put remembers a value, and forgets the least recently used one when full.
func (s *store[T]) put(key vm.Hash, value T, valid span) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.entries == nil {
		s.entries = map[vm.Hash]*list.Element{}
	}
	if element, ok := s.entries[key]; ok {
		element.Value = entry[T]{key, value, valid}
		return
	}
	for s.recent.Len() >= s.limit {
		oldest := s.recent.Back()
		delete(s.entries, s.recent.Remove(oldest).(entry[T]).key)
	}
	s.entries[key] = s.recent.PushFront(entry[T]{key, value, valid})
}

// keyOf hashes what an entry rests on. Each part is preceded by its length, so
// that bytes cannot move from one part to the next.
func keyOf(parts ...[]byte) (key vm.Hash) {
	h := sha256.New()
	for _, part := range parts {
		var size [8]byte
		binary.LittleEndian.PutUint64(size[:], uint64(len(part)))
		h.Write(size[:])
		h.Write(part)
	}
	h.Sum(key[:0])
	return key
}
