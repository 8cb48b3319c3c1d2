package attest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/secretvm/secretvm/vm"
)

// genuine is the evidence that speed is measured with: a machine of Intel's
// PKI where the vectors are there, else one of a development PKI, which takes
// the same steps.
func genuine(t testing.TB) (vm.Evidence, Options) {
	t.Helper()
	if haveVectors() {
		return vm.Evidence{TEE: vm.TDX, Quote: read(t, dcap+"tdx_quote"), Collateral: dcapCollateral(t, dcap+"tdx_quote_collateral.json")},
			Options{Time: time.Date(2025, 7, 1, 0, 0, 0, 0, time.UTC)}
	}
	b := newBed(t)
	return b.evidence(t), b.options
}

// signatureCheck returns one P-256 verification, the unit of these figures.
func signatureCheck(t testing.TB) func() {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256([]byte("unit"))
	signature, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		if !ecdsa.VerifyASN1(&key.PublicKey, digest[:], signature) {
			t.Fatal("the unit does not verify")
		}
	}
}

// allocated returns the bytes that one call of f allocates.
func allocated(f func()) uint64 {
	const runs = 100
	var before, after runtime.MemStats
	f()
	runtime.ReadMemStats(&before)
	for range runs {
		f()
	}
	runtime.ReadMemStats(&after)
	return (after.TotalAlloc - before.TotalAlloc) / runs
}

// TestMemoryOfOneVerification: 64 KiB at most, cold or cached.
func TestMemoryOfOneVerification(t *testing.T) {
	ev, o := genuine(t)
	v := NewVerifier(CacheOptions{})
	for name, verify := range map[string]func(vm.Evidence, Options) (vm.Verdict, error){"cold": Verify, "cached": v.Verify} {
		size := allocated(func() {
			if _, err := verify(ev, o); err != nil {
				t.Fatal(err)
			}
		})
		if t.Logf("%s: %d bytes", name, size); size > 64<<10 {
			t.Errorf("%s: one verification allocates %d bytes, want at most %d", name, size, 64<<10)
		}
	}
}

// against measures f and units P-256 verifications in turns, so that both see
// the same machine, and reports the ratio of their medians.
func against(b *testing.B, units int, f func()) {
	unit := signatureCheck(b)
	var ours, theirs []time.Duration
	clock := func(f func()) time.Duration {
		begin := time.Now()
		f()
		return time.Since(begin)
	}
	f()
	for b.Loop() {
		ours = append(ours, clock(f))
		theirs = append(theirs, clock(func() {
			for range units {
				unit()
			}
		}))
	}
	median := func(d []time.Duration) float64 {
		slices.Sort(d)
		return float64(d[len(d)/2])
	}
	b.ReportMetric(0, "ns/op") // both together: of no meaning
	b.ReportMetric(median(ours)/1e3, "µs/verification")
	b.ReportMetric(median(theirs)/1e3, "µs/signatures")
	b.ReportMetric(median(ours)/median(theirs), "ratio")
	b.ReportMetric(float64(allocated(f)), "B/verification")
}

// BenchmarkTDXCold is one verification by a verifier that knows nothing yet,
// against the nine signatures in it. Wanted: ratio 1.25.
func BenchmarkTDXCold(b *testing.B) {
	ev, o := genuine(b)
	against(b, 9, func() {
		if _, err := Verify(ev, o); err != nil {
			b.Fatal(err)
		}
	})
}

// BenchmarkTDXCached is one verification by a verifier that has seen platform
// and collateral before, against the two signatures that are left. Wanted:
// ratio 1.25.
func BenchmarkTDXCached(b *testing.B) {
	ev, o := genuine(b)
	v := NewVerifier(CacheOptions{})
	against(b, 2, func() {
		if _, err := v.Verify(ev, o); err != nil {
			b.Fatal(err)
		}
	})
}

// BenchmarkTDXTwoCores gives one Verifier to two cores and reports how much
// more they do together than one alone: 2 is linear. Bare signatures do the
// same in the same rounds, and show what the machine has to give.
func BenchmarkTDXTwoCores(b *testing.B) {
	ev, o := genuine(b)
	v := NewVerifier(CacheOptions{})
	check := func(_ vm.Verdict, err error) {
		if err != nil {
			b.Error(err)
		}
	}
	run := func(f func(), times, workers int) time.Duration {
		begin := time.Now()
		var group sync.WaitGroup
		for range workers {
			group.Go(func() {
				for range times {
					f()
				}
			})
		}
		group.Wait()
		return time.Since(begin)
	}
	rows := []struct {
		name  string
		f     func()
		times int
		found []float64
	}{
		{"cold", func() { check(Verify(ev, o)) }, 20, nil},
		{"cached", func() { check(v.Verify(ev, o)) }, 200, nil},
		{"signatures", signatureCheck(b), 300, nil},
	}
	for b.Loop() {
		for i := range rows {
			r := &rows[i]
			alone, together := run(r.f, r.times, 1), run(r.f, r.times, 2)
			r.found = append(r.found, 2*float64(alone)/float64(together))
		}
	}
	b.ReportMetric(0, "ns/op")
	for _, r := range rows {
		slices.Sort(r.found)
		b.ReportMetric(r.found[len(r.found)/2], r.name+"-speedup")
	}
}
