package keys

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

func polynomial(t testing.TB, threshold int) *Polynomial {
	t.Helper()
	f, err := NewPolynomial(rand.Reader, threshold)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestPolynomialAndCommitments(t *testing.T) {
	for _, threshold := range []int{1, 2, 5, 12} {
		f := polynomial(t, threshold)
		c := f.Commit()
		if c.Threshold() != threshold {
			t.Fatalf("%d commitments, want %d", len(c), threshold)
		}
		for _, index := range []uint32{1, 2, 7, MaxNodes} {
			s, err := f.Share(index)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Verify(s); err != nil {
				t.Fatal(err)
			}
		}
	}
	f := polynomial(t, 2)
	for _, index := range []uint32{0, MaxNodes + 1} {
		if _, err := f.Share(index); err == nil {
			t.Errorf("share %d was given", index)
		}
	}
	f.Wipe()
	if _, err := f.Share(1); err == nil {
		t.Error("a wiped polynomial has shares")
	}
	for _, threshold := range []int{0, -1, MaxNodes + 1} {
		if _, err := NewPolynomial(rand.Reader, threshold); err == nil {
			t.Errorf("threshold %d: accepted", threshold)
		}
	}
	if _, err := NewPolynomial(bytes.NewReader(make([]byte, 100)), 2); err == nil {
		t.Error("drawn from too little randomness")
	}
	if _, err := PolynomialOf(rand.Reader, Share{Index: 1}, 2); err == nil {
		t.Error("no share was shared")
	}
}

// TestProofs: a proof holds for its commitments and context and nothing else.
func TestProofs(t *testing.T) {
	for _, threshold := range []int{1, 3, 7, 8, 20} { // both ways of adding points
		t.Run(fmt.Sprint(threshold), func(t *testing.T) {
			f, context := polynomial(t, threshold), []byte("round 1, dealer 2")
			c := f.Commit()
			proof, err := f.Prove(rand.Reader, context)
			if err != nil {
				t.Fatal(err)
			}
			if err := VerifyProof(c, context, proof); err != nil {
				t.Fatal(err)
			}
			if VerifyProof(c, []byte("round 1, dealer 3"), proof) == nil {
				t.Error("another context: accepted")
			}
			for k := range c {
				other := append(Commitments(nil), c...)
				other[k] = polynomial(t, 1).Commit()[0]
				if VerifyProof(other, context, proof) == nil {
					t.Errorf("commitment %d is another: accepted", k)
				}
			}
			if VerifyProof(append(c, c[0]), context, proof) == nil {
				t.Error("one commitment more: accepted")
			}
			for i := range proof {
				wrong := proof
				wrong[i] ^= 1
				if VerifyProof(c, context, wrong) == nil {
					t.Fatalf("byte %d altered: accepted", i)
				}
			}
		})
	}
	f := polynomial(t, 2)
	if VerifyProof(f.Commit(), nil, Proof{}) == nil {
		t.Error("a proof of zeros: accepted")
	}
	if VerifyProof(Commitments{}, nil, Proof{}) == nil || VerifyProof(Commitments{{}}, nil, Proof{}) == nil {
		t.Error("a proof of nothing: accepted")
	}
	if _, err := f.Prove(failing{}, nil); err == nil {
		t.Error("proven without randomness")
	}
	a, err := f.Prove(&counter{}, []byte("a"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := f.Prove(&counter{}, []byte("b"))
	if err != nil {
		t.Fatal(err)
	}
	// The same randomness for two contexts must not give the same nonce, which
	// would give the secret away: r = z - Σ c^(k+1)·a_k.
	if nonce(f, a) == nonce(f, b) {
		t.Error("repeated randomness repeats the nonce")
	}
	f.Wipe()
	if _, err := f.Prove(rand.Reader, nil); err == nil {
		t.Error("a wiped polynomial was proven")
	}
}

func nonce(f *Polynomial, p Proof) fr.Element {
	var c, r fr.Element
	c.SetBytes(p[:ScalarSize])
	r.SetBytes(p[ScalarSize:])
	power := fr.One()
	for k := range f.coefficients {
		var term fr.Element
		power.Mul(&power, &c)
		r.Sub(&r, term.Mul(&power, &f.coefficients[k]))
	}
	return r
}

// TestSumsAndInterpolations: what holds for dealers' secrets holds for their
// shares and commitments.
func TestSumsAndInterpolations(t *testing.T) {
	for _, dealers := range [][]uint32{{1}, {2, 5, 9}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 256}} {
		t.Run(fmt.Sprint(len(dealers)), func(t *testing.T) {
			const index = 6
			var all []Commitments
			var shares []Share
			var sum fr.Element
			for range dealers {
				f := polynomial(t, 3)
				s, err := f.Share(index)
				if err != nil {
					t.Fatal(err)
				}
				all, shares = append(all, f.Commit()), append(shares, s)
				sum.Add(&sum, &f.coefficients[0])
			}
			c, err := SumCommitments(all)
			if err != nil {
				t.Fatal(err)
			}
			s, err := SumShares(shares)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Verify(s); err != nil {
				t.Fatal(err)
			}
			if !c.GroupKey().Equal(multiplyBase(&sum)) {
				t.Fatal("the sum commits to another secret")
			}
			if c, err = InterpolateCommitments(dealers, all); err != nil {
				t.Fatal(err)
			}
			if s, err = InterpolateShares(dealers, shares); err != nil {
				t.Fatal(err)
			}
			if err := c.Verify(s); err != nil {
				t.Fatal(err)
			}
		})
	}
	c, shares := deal(t, 2, 3)
	for name, f := range map[string]func() error{
		"no shares":          func() error { _, err := SumShares(nil); return err },
		"mixed shares":       func() error { _, err := SumShares(shares); return err },
		"sum of zero":        func() error { _, err := SumShares([]Share{shares[0], negative(shares[0])}); return err },
		"no commitments":     func() error { _, err := SumCommitments(nil); return err },
		"infinity":           func() error { _, err := SumCommitments([]Commitments{c, {{}, {}}}); return err },
		"mixed lengths":      func() error { _, err := SumCommitments([]Commitments{c, c[:1]}); return err },
		"infinity as sum":    func() error { _, err := SumCommitments([]Commitments{c, opposite(c)}); return err },
		"lists of two sizes": func() error { _, err := InterpolateCommitments([]uint32{1}, []Commitments{c, c}); return err },
		"shares of two sizes": func() error {
			_, err := InterpolateShares([]uint32{1, 2}, shares[:1])
			return err
		},
		"dealer twice":  func() error { _, err := InterpolateCommitments([]uint32{1, 1}, []Commitments{c, c}); return err },
		"dealer 0":      func() error { _, err := InterpolateCommitments([]uint32{0, 1}, []Commitments{c, c}); return err },
		"nothing":       func() error { _, err := assemble(1, nil); return err },
		"share's twice": func() error { _, err := assemble(1, []Share{shares[0], shares[0]}); return err },
	} {
		if f() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func negative(s Share) Share {
	s.scalar.Neg(&s.scalar)
	return s
}

func opposite(c Commitments) Commitments {
	out := make(Commitments, len(c))
	for i, k := range c {
		out[i].point.Neg(&k.point)
	}
	return out
}

// assemble interpolates shares of one sharing at zero and calls the result the
// share of index: the inverse of PolynomialOf.
func assemble(index uint32, shares []Share) (Share, error) {
	dealers, parts := make([]uint32, len(shares)), make([]Share, len(shares))
	for i, s := range shares {
		dealers[i], parts[i] = s.Index, s
		parts[i].Index = index
	}
	return InterpolateShares(dealers, parts)
}

// TestK4_FewPiecesOfAShareSayNothing: sharing a share again, k-1 pieces fit every
// candidate as well as the share.
func TestK4_FewPiecesOfAShareSayNothing(t *testing.T) {
	_, shares := deal(t, 2, 3)
	const k = 3
	f, err := PolynomialOf(rand.Reader, shares[1], k)
	if err != nil {
		t.Fatal(err)
	}
	var pieces []Share
	for i := uint32(1); i <= 5; i++ {
		p, err := f.Share(i)
		if err != nil {
			t.Fatal(err)
		}
		pieces = append(pieces, p)
	}
	subsets(5, k, func(chosen []int) {
		got, err := assemble(2, []Share{pieces[chosen[0]], pieces[chosen[1]], pieces[chosen[2]]})
		if err != nil || got != shares[1] {
			t.Fatalf("pieces %v: %v", chosen, err)
		}
	})
	subsets(5, k-1, func(chosen []int) {
		got, err := assemble(2, []Share{pieces[chosen[0]], pieces[chosen[1]]})
		if err == nil && got == shares[1] {
			t.Fatalf("pieces %v alone are the share", chosen)
		}
		candidate, err := drawScalar(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		xs, ys := []fr.Element{{}}, []fr.Element{candidate}
		for _, i := range chosen {
			var x fr.Element
			x.SetUint64(uint64(pieces[i].Index))
			xs, ys = append(xs, x), append(ys, pieces[i].scalar)
		}
		fit := interpolate(xs, ys)
		var last Share
		last.Index = 200
		last.scalar = evaluate(fit, last.Index)
		if got, err = assemble(2, []Share{pieces[chosen[0]], pieces[chosen[1]], last}); err != nil || got.scalar != candidate {
			t.Fatalf("pieces %v do not fit a random candidate: %v", chosen, err)
		}
	})
}

func TestParseCommitments(t *testing.T) {
	c := polynomial(t, 3).Commit()
	again, err := ParseCommitments(c.Bytes())
	if err != nil || !again.Equal(c) {
		t.Fatal("commitments do not survive their bytes:", err)
	}
	if c.Equal(c[:2]) || c.Equal(opposite(c)) {
		t.Error("different commitments are equal")
	}
	for name, b := range map[string][]byte{
		"empty": nil, "short": c.Bytes()[1:], "zeros": make([]byte, PublicKeySize),
		"too many": bytes.Repeat(c[0].Bytes(), MaxNodes+1),
	} {
		if _, err := ParseCommitments(b); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func FuzzParseCommitments(f *testing.F) {
	f.Add(polynomial(f, 2).Commit().Bytes())
	f.Add(make([]byte, PublicKeySize))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseCommitments(b)
		if err == nil && (!bytes.Equal(c.Bytes(), b) || c.Validate() != nil) {
			t.Fatalf("%x was read as other commitments", b)
		}
	})
}

func FuzzParseShare(f *testing.F) {
	f.Add(uint32(1), bytes.Repeat([]byte{1}, ScalarSize))
	f.Add(uint32(0), make([]byte, ScalarSize))
	f.Fuzz(func(t *testing.T, index uint32, b []byte) {
		s, err := ParseShare(index, b)
		if err == nil && (!bytes.Equal(s.Bytes(), b) || s.IsZero() || index == 0 || index > MaxNodes) {
			t.Fatalf("%d, %x was accepted", index, b)
		}
	})
}

// FuzzVerifyProof: no bytes but those of the prover are a proof.
func FuzzVerifyProof(f *testing.F) {
	p := polynomial(f, 2)
	proof, err := p.Prove(rand.Reader, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(proof[:])
	f.Add(make([]byte, ProofSize))
	c := p.Commit()
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) == ProofSize && VerifyProof(c, nil, Proof(b)) == nil && !bytes.Equal(b, proof[:]) {
			t.Fatalf("%x is a forgery", b)
		}
	})
}

func TestRecipientIsStored(t *testing.T) {
	r, err := NewRecipient()
	if err != nil {
		t.Fatal(err)
	}
	b, err := r.Bytes()
	if err != nil || len(b) != RecipientSeedSize {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	again, err := ParseRecipient(b)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := Seal(r.Public(), []byte("info"), []byte("plain"))
	if err != nil {
		t.Fatal(err)
	}
	if len(sealed) != len("plain")+EnvelopeOverhead {
		t.Errorf("an envelope of 5 bytes has %d, want %d", len(sealed), 5+EnvelopeOverhead)
	}
	if plain, err := again.Open([]byte("info"), sealed); err != nil || string(plain) != "plain" {
		t.Fatalf("%q, %v", plain, err)
	}
	for _, bad := range [][]byte{nil, b[1:], append(b, 0)} {
		if _, err := ParseRecipient(bad); err == nil {
			t.Errorf("%d bytes: accepted", len(bad))
		}
	}
}

func TestWipe(t *testing.T) {
	_, shares := deal(t, 1, 1)
	p := partials(t, shares, testID)[0]
	sigma, err := Combine(1, []Partial{p})
	if err != nil {
		t.Fatal(err)
	}
	p.Wipe()
	sigma.Wipe()
	shares[0].Wipe()
	if p != (Partial{Index: 1}) || sigma != (Signature{}) || !shares[0].IsZero() {
		t.Error("a wiped value is not zero")
	}
}

func TestPolynomialPrintsRedacted(t *testing.T) {
	f := polynomial(t, 2)
	var out strings.Builder
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "secret", f)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		fmt.Fprintf(&out, " "+verb, f)
	}
	b, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(b)
	out.WriteString(f.String())
	if strings.Count(out.String(), redacted) != 9 {
		t.Errorf("a polynomial prints %s", out.String())
	}
}

func BenchmarkCombination(b *testing.B) {
	for _, n := range []int{4, 8, 9, 16, 44} {
		weights, points := make([]fr.Element, n), make([]PublicKey, n)
		affine := make([]bls.G2Affine, n)
		for i := range n {
			var err error
			if weights[i], err = drawScalar(rand.Reader); err != nil {
				b.Fatal(err)
			}
			points[i] = multiplyBase(&weights[i])
			affine[i] = points[i].point
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				combination(weights, points)
			}
		})
	}
}
