package keys

import (
	"crypto/rand"
	"testing"
	"time"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
)

// sharing is a 3-of-4 sharing with every node's partials, for benchmarks.
func sharing(tb testing.TB) (Commitments, []Share, []Partial) {
	tb.Helper()
	c, shares, err := Split(rand.Reader, 3, 4)
	if err != nil {
		tb.Fatal(err)
	}
	all := make([]Partial, len(shares))
	for i, s := range shares {
		if all[i], err = s.Partial(testID); err != nil {
			tb.Fatal(err)
		}
	}
	return c, shares, all
}

// naive is how a key was made before: every partial is checked, then the key.
func naive(c Commitments, id ID, partials []Partial) (Signature, error) {
	for _, p := range partials {
		public, err := c.Public(p.Index)
		if err != nil {
			return Signature{}, err
		}
		if err := p.Verify(public, id); err != nil {
			return Signature{}, err
		}
	}
	sigma, err := Combine(c.Threshold(), partials)
	if err != nil {
		return sigma, err
	}
	return sigma, VerifyKey(c.GroupKey(), id, sigma)
}

func BenchmarkHashToCurve(b *testing.B) {
	for b.Loop() {
		if _, err := testID.point(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPartial(b *testing.B) {
	_, shares, _ := sharing(b)
	for b.Loop() {
		if _, err := shares[0].Partial(testID); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParsePartial(b *testing.B) {
	_, _, all := sharing(b)
	for b.Loop() {
		if _, err := ParsePartial(1, all[0].Bytes()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerifyPartial(b *testing.B) {
	c, _, all := sharing(b)
	public, err := c.Public(1)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := all[0].Verify(public, testID); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPublic(b *testing.B) {
	c, _, _ := sharing(b)
	for b.Loop() {
		if _, err := c.Public(4); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCombine(b *testing.B) {
	_, _, all := sharing(b)
	for b.Loop() {
		if _, err := Combine(3, all[1:]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCombineNaive(b *testing.B) {
	c, _, all := sharing(b)
	for b.Loop() {
		if _, err := naive(c, testID, all[:3]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCombineVerified(b *testing.B) {
	c, _, all := sharing(b)
	for b.Loop() {
		if _, _, err := CombineVerified(c.GroupKey(), c, testID, all); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerifier(b *testing.B) {
	c, shares, all := sharing(b)
	v, err := NewVerifier(c)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("one key", func(b *testing.B) {
		for b.Loop() {
			if _, _, err := v.Combine(testID, all); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("one liar", func(b *testing.B) {
		wrong := append([]Partial(nil), all...)
		wrong[0].point = wrong[1].point
		for b.Loop() {
			if _, bad, err := v.Combine(testID, wrong); err != nil || len(bad) != 1 {
				b.Fatal(bad, err)
			}
		}
	})
	b.Run("eight keys", func(b *testing.B) {
		ids, answers := eightKeys(b, shares)
		for b.Loop() {
			if _, _, err := v.CombineAll(rand.Reader, ids, answers); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// eightKeys asks every share for eight keys.
func eightKeys(tb testing.TB, shares []Share) ([]ID, [][]Partial) {
	tb.Helper()
	ids := make([]ID, 8)
	for i := range ids {
		ids[i] = testID
		ids[i].Epoch = uint64(i)
	}
	answers := make([][]Partial, len(shares))
	for i, s := range shares {
		for _, id := range ids {
			p, err := s.Partial(id)
			if err != nil {
				tb.Fatal(err)
			}
			answers[i] = append(answers[i], p)
		}
	}
	return ids, answers
}

func BenchmarkPrecomputeLines(b *testing.B) {
	c, _, _ := sharing(b)
	for b.Loop() {
		bls.PrecomputeLines(c[0].point)
	}
}

func BenchmarkSplit(b *testing.B) {
	for b.Loop() {
		if _, _, err := Split(rand.Reader, 3, 4); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerifyProof(b *testing.B) {
	f, err := NewPolynomial(rand.Reader, 3)
	if err != nil {
		b.Fatal(err)
	}
	proof, err := f.Prove(rand.Reader, []byte("bench"))
	if err != nil {
		b.Fatal(err)
	}
	c := f.Commit()
	for b.Loop() {
		if err := VerifyProof(c, []byte("bench"), proof); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDerive(b *testing.B) {
	c, _, all := sharing(b)
	sigma, err := Combine(3, all)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := Derive(c.GroupKey(), testID, sigma); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncrypt(b *testing.B) {
	c, _, _ := sharing(b)
	text := make([]byte, 1024)
	for b.Loop() {
		if _, err := Encrypt(rand.Reader, c.GroupKey(), testID, text, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecrypt(b *testing.B) {
	c, _, all := sharing(b)
	sigma, err := Combine(3, all)
	if err != nil {
		b.Fatal(err)
	}
	sealed, err := Encrypt(rand.Reader, c.GroupKey(), testID, make([]byte, 1024), nil)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := Decrypt(c.GroupKey(), testID, sigma, sealed, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSeal(b *testing.B) {
	r, err := NewRecipient()
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := Seal(r.Public(), []byte("info"), make([]byte, PointSize)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	r, err := NewRecipient()
	if err != nil {
		b.Fatal(err)
	}
	sealed, err := Seal(r.Public(), []byte("info"), make([]byte, PointSize))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := r.Open([]byte("info"), sealed); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRatio times both ways of making a key in turns, so that a busy machine
// slows both: how many times faster one check is than checking every partial, for
// one key, and for eight in one check.
func BenchmarkRatio(b *testing.B) {
	c, shares, all := sharing(b)
	v, err := NewVerifier(c)
	if err != nil {
		b.Fatal(err)
	}
	ids, answers := eightKeys(b, shares)
	var before, once, prepared, eight time.Duration
	timed := func(sum *time.Duration, f func() error) {
		start := time.Now()
		if err := f(); err != nil {
			b.Fatal(err)
		}
		*sum += time.Since(start)
	}
	for b.Loop() {
		timed(&before, func() error { _, err := naive(c, testID, all[:3]); return err })
		timed(&once, func() error { _, _, err := CombineVerified(c.GroupKey(), c, testID, all); return err })
		timed(&prepared, func() error { _, _, err := v.Combine(testID, all); return err })
		timed(&eight, func() error { _, _, err := v.CombineAll(rand.Reader, ids, answers); return err })
	}
	b.ReportMetric(float64(before)/float64(once), "x/once")
	b.ReportMetric(float64(before)/float64(prepared), "x/prepared")
	b.ReportMetric(8*float64(before)/float64(eight), "x/eight")
}
