package attest

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/secretvm/secretvm/attest/tdx"
	"github.com/secretvm/secretvm/attest/tdx/collateral"
	"github.com/secretvm/secretvm/tee/soft/emulator"
	"github.com/secretvm/secretvm/vm"
)

// remembering is the Verifier of all tests: whatever one of them finds genuine
// is remembered while the others try their forgeries.
var remembering = NewVerifier(CacheOptions{})

// bothWays verifies without a memory, and twice with one that has seen a lot,
// and holds all three to the same answer.
func bothWays(t testing.TB, ev vm.Evidence, o Options) (vm.Verdict, error) {
	t.Helper()
	cold, coldErr := Verify(ev, o)
	for range 2 {
		verdict, err := remembering.Verify(ev, o)
		if !reflect.DeepEqual(verdict, cold) || !reflect.DeepEqual(err, coldErr) {
			t.Fatalf("the Verifier says %+v, %v; Verify says %+v, %v", verdict, err, cold, coldErr)
		}
	}
	return cold, coldErr
}

// edges returns every moment at which something in the evidence begins or
// ends, with a second on either side.
func edges(t testing.TB, ev vm.Evidence) (times []time.Time) {
	t.Helper()
	q, err := tdx.Decode(ev.Quote)
	if err != nil {
		t.Fatal(err)
	}
	var all []time.Time
	for _, chain := range [][]byte{q.Signature.PCKChain, ev.Collateral.TCBInfoChain, ev.Collateral.PCKCRLChain} {
		for _, cert := range certificates(t, chain) {
			all = append(all, cert.NotBefore, cert.NotAfter)
		}
	}
	info, qe := parsed(t, ev.Collateral)
	all = append(all, info.IssueDate, info.NextUpdate, qe.IssueDate, qe.NextUpdate)
	for _, level := range info.TCBLevels {
		all = append(all, level.TCBDate.AddDate(0, 0, 90))
	}
	for _, der := range [][]byte{ev.Collateral.PCKCRL, ev.Collateral.RootCACRL} {
		list := revocations(t, der)
		all = append(all, list.ThisUpdate, list.NextUpdate)
	}
	for _, at := range all {
		times = append(times, at.Add(-time.Second), at, at.Add(time.Second))
	}
	return times
}

// TestCacheNeverChangesAVerdict walks through time in no order, over every
// moment at which a part of the evidence begins or ends, under policies that
// move those moments, with entries that were made at other times.
func TestCacheNeverChangesAVerdict(t *testing.T) {
	b := newBed(t)
	dev := b.evidence(t)
	late := b.evidence(t)
	b.issue(t, &late, func(p *emulator.Plan) {
		good := p.TCBInfo.TCBLevels[0]
		good.TCB.SGX = append([]collateral.Component{{SVN: 9}}, good.TCB.SGX[1:]...)
		good.TCBDate = now.AddDate(0, 0, -80)
		p.TCBInfo.TCBLevels[0].TCBStatus = collateral.OutOfDate
		p.TCBInfo.TCBLevels = append([]collateral.TCBLevel{good}, p.TCBInfo.TCBLevels...)
	})
	evidence := []vm.Evidence{dev, late}
	if haveVectors() {
		ev, _ := genuine(t)
		evidence = append(evidence, ev)
	}
	policies := []Policy{
		{},
		{StaleCollateral: 10 * 24 * time.Hour},
		{Grace: 90 * 24 * time.Hour, StaleCollateral: 300 * 24 * time.Hour},
		{MinEvaluation: 17},
		{Accept: []string{"OutOfDate"}},
	}
	accepted := 0
	for _, ev := range evidence {
		times := edges(t, ev)
		rand.Shuffle(len(times), func(i, j int) { times[i], times[j] = times[j], times[i] })
		for _, at := range times {
			for _, policy := range policies {
				o := Options{Time: at, Policy: policy, Roots: append(slices.Clone(b.options.Roots), IntelRoot())}
				if _, err := bothWays(t, ev, o); err == nil {
					accepted++
				}
			}
		}
	}
	if accepted < 20 {
		t.Errorf("%d verdicts only: this test looks at nothing", accepted)
	}
}

// TestCacheKeepsRootsApart: what was genuine below a root that one caller
// trusts says nothing to a caller who does not.
func TestCacheKeepsRootsApart(t *testing.T) {
	b, other := newBed(t), newBed(t)
	ev := b.evidence(t)
	v := NewVerifier(CacheOptions{})
	if _, err := v.Verify(ev, b.options); err != nil {
		t.Fatal(err)
	}
	for _, o := range []Options{{Time: now}, {Time: now, Roots: other.options.Roots}} {
		_, err := v.Verify(ev, o)
		refused(t, err, vm.CodeChain)
	}
	// Collateral below one root says nothing about a platform below another,
	// also where both are trusted and it is known to be genuine.
	foreign := other.evidence(t)
	foreign.Collateral = ev.Collateral
	both := Options{Time: now, Roots: append(slices.Clone(b.options.Roots), other.options.Roots...)}
	if _, err := v.Verify(ev, both); err != nil {
		t.Fatal(err)
	}
	_, coldErr := Verify(foreign, both)
	_, mixedErr := v.Verify(foreign, both)
	if coldErr == nil || !reflect.DeepEqual(mixedErr, coldErr) {
		t.Errorf("collateral of another root: %v, without a memory %v", mixedErr, coldErr)
	}
	// A revoked platform, while its neighbour with the same collateral is fine.
	b.issue(t, &ev, func(p *emulator.Plan) { p.Revoked = append(p.Revoked, b.pki.PCK.Cert) })
	_, err := v.Verify(ev, b.options)
	refused(t, err, vm.CodeRevoked)
}

// TestCacheSharesNothing: a caller may use its buffers again.
func TestCacheSharesNothing(t *testing.T) {
	b := newBed(t)
	ev := b.evidence(t)
	v := NewVerifier(CacheOptions{})
	c := *ev.Collateral
	mine := vm.Evidence{Quote: bytes.Clone(ev.Quote), Collateral: &vm.Collateral{
		PCKCRL: bytes.Clone(c.PCKCRL), PCKCRLChain: bytes.Clone(c.PCKCRLChain), RootCACRL: bytes.Clone(c.RootCACRL), TCBInfo: bytes.Clone(c.TCBInfo),
		TCBInfoChain: bytes.Clone(c.TCBInfoChain), QEIdentity: bytes.Clone(c.QEIdentity), QEIdentityChain: bytes.Clone(c.QEIdentityChain),
	}}
	want, err := v.Verify(mine, b.options)
	if err != nil {
		t.Fatal(err)
	}
	for _, buffer := range [][]byte{mine.Quote, mine.Collateral.PCKCRL, mine.Collateral.PCKCRLChain, mine.Collateral.RootCACRL, mine.Collateral.TCBInfo, mine.Collateral.TCBInfoChain, mine.Collateral.QEIdentity, mine.Collateral.QEIdentityChain} {
		for i := range buffer {
			buffer[i] = 0xaa
		}
	}
	got, err := v.Verify(ev, b.options)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("after the buffers changed: %+v, %v, want %+v", got, err, want)
	}
}

// TestCacheIsBounded: the least recently used entry goes.
func TestCacheIsBounded(t *testing.T) {
	s := store[int]{limit: 2}
	key := func(i byte) vm.Hash { return vm.Hash{i} }
	at := span{now, now.Add(time.Hour)}
	has := func(i byte) bool { _, _, ok := s.get(key(i), now); return ok }
	s.put(key(1), 1, at)
	s.put(key(2), 2, at)
	if !has(1) {
		t.Fatal("1 is gone")
	}
	s.put(key(3), 3, at)
	s.put(key(3), 3, at)
	if !has(1) || has(2) || !has(3) || len(s.entries) != 2 || s.recent.Len() != 2 {
		t.Errorf("kept 1 %v, 2 %v, 3 %v, %d entries", has(1), has(2), has(3), len(s.entries))
	}
	for _, outside := range []time.Time{now.Add(-1), now.Add(time.Hour + 1)} {
		if _, _, ok := s.get(key(1), outside); ok {
			t.Errorf("an entry counts at %v, outside its time", outside)
		}
	}
}

// TestVerifierConcurrently gives one Verifier with room for little to many
// goroutines; the race detector looks on.
func TestVerifierConcurrently(t *testing.T) {
	v := NewVerifier(CacheOptions{Chains: 2, Collateral: 2})
	var beds [4]bed
	var evidence [4]vm.Evidence
	for i := range beds {
		beds[i] = newBed(t)
		evidence[i] = beds[i].evidence(t)
	}
	var group sync.WaitGroup
	for worker := range 8 {
		group.Go(func() {
			for i := range 20 {
				mine, foreign := (worker+i)%4, (worker+i+1)%4
				if _, err := v.Verify(evidence[mine], beds[mine].options); err != nil {
					t.Error(err)
				}
				if _, err := v.Verify(evidence[mine], beds[foreign].options); vm.CodeOf(err) != vm.CodeChain {
					t.Errorf("below a stranger's root: %v", err)
				}
			}
		})
	}
	group.Wait()
}
