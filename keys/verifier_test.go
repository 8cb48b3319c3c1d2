package keys

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

func verifier(t *testing.T, c Commitments) *Verifier {
	t.Helper()
	v, err := NewVerifier(c)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// lie moves a partial off its value.
func lie(p Partial) Partial {
	p.point.Double(&p.point)
	return p
}

// TestK3_CombineNamesEveryLiar: for every set of liars among five nodes, the key
// is made exactly when three others are there, and exactly the liars are named
// whenever the first combination failed.
func TestK3_CombineNamesEveryLiar(t *testing.T) {
	const threshold, n = 3, 5
	c, shares := deal(t, threshold, n)
	v := verifier(t, c)
	all := partials(t, shares, testID)
	want, err := Combine(threshold, all)
	if err != nil {
		t.Fatal(err)
	}
	for set := range 1 << n {
		some := slices.Clone(all)
		var liars []uint32
		for i := range some {
			if set>>i&1 == 1 {
				some[i] = lie(some[i])
				liars = append(liars, some[i].Index)
			}
		}
		sigma, bad, err := v.Combine(testID, some)
		looked := set&(1<<threshold-1) != 0 // a liar is among those combined first
		if looked && !slices.Equal(bad, liars) || !looked && bad != nil {
			t.Fatalf("liars %v: named %v", liars, bad)
		}
		if (err == nil) != (len(liars) <= n-threshold) {
			t.Fatalf("liars %v: error is %v", liars, err)
		}
		if err == nil && sigma != want {
			t.Fatalf("liars %v: another key was made", liars)
		}
	}
}

func TestK3_CombineAllNamesTheLiarAboutOneKey(t *testing.T) {
	c, shares := deal(t, 3, 4)
	v := verifier(t, c)
	ids, answers := eightKeys(t, shares)
	sigmas, bad, err := v.CombineAll(rand.Reader, ids, answers)
	if err != nil || bad != nil {
		t.Fatal(bad, err)
	}
	for i, id := range ids {
		if err := VerifyKey(c.GroupKey(), id, sigmas[i]); err != nil {
			t.Fatal(err)
		}
	}
	// Two keys swapped: their plain sum is right, a weighed one is not.
	answers[1][2], answers[1][5] = answers[1][5], answers[1][2]
	again, bad, err := v.CombineAll(rand.Reader, ids, answers)
	if err != nil || !slices.Equal(bad, []uint32{2}) || !slices.Equal(sigmas, again) {
		t.Fatalf("named %v, error %v", bad, err)
	}
	answers[2][0] = lie(answers[2][0])
	if _, bad, err = v.CombineAll(rand.Reader, ids, answers); err == nil || !slices.Equal(bad, []uint32{2, 3}) || !strings.Contains(err.Error(), "[2 3]") {
		t.Fatalf("two of four lie: named %v, error %v", bad, err)
	}
}

func TestCombineRefuses(t *testing.T) {
	c, shares := deal(t, 2, 3)
	v := verifier(t, c)
	all := partials(t, shares, testID)
	other := testID
	other.Epoch = 1
	two := []ID{testID, other}
	row := func(p ...Partial) []Partial { return p }
	for name, f := range map[string]func() error{
		"too few":    func() error { _, _, err := v.Combine(testID, all[:1]); return err },
		"none":       func() error { _, _, err := v.Combine(testID, nil); return err },
		"twice":      func() error { _, _, err := v.Combine(testID, []Partial{all[0], all[0]}); return err },
		"invalid id": func() error { _, _, err := v.Combine(ID{}, all); return err },
		"infinity":   func() error { _, _, err := v.Combine(testID, []Partial{{Index: 1}, {Index: 2}}); return err },
		"index 0":    func() error { _, _, err := v.Combine(testID, []Partial{{point: all[0].point}, all[1]}); return err },
		"no keys":    func() error { _, _, err := v.CombineAll(rand.Reader, nil, nil); return err },
		"short row":  func() error { _, _, err := v.CombineAll(rand.Reader, two, [][]Partial{row(all[0])}); return err },
		"mixed row": func() error {
			_, _, err := v.CombineAll(rand.Reader, two, [][]Partial{row(all[0], all[1])})
			return err
		},
		"no weights":  func() error { return v.verify(two, make([]Signature, 2), nil) },
		"bad reader":  func() error { _, err := drawWeights(failing{}, 2); return err },
		"no sharing":  func() error { _, err := NewVerifier(nil); return err },
		"wrong group": func() error { _, _, err := CombineVerified(c[1], c, testID, all); return err },
		"wrong key":   func() error { return v.Verify(other, Signature{all[0].point}) },
	} {
		if f() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	sigma, bad, err := CombineVerified(c.GroupKey(), c, testID, all)
	if err != nil || bad != nil {
		t.Fatal(bad, err)
	}
	if err := v.Verify(testID, sigma); err != nil {
		t.Fatal(err)
	}
	if !v.Sharing().Equal(c) {
		t.Error("the verifier has another sharing")
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("no randomness") }

// TestVerifierIsReusable: the curve library changes the lines that it is given.
func TestVerifierIsReusable(t *testing.T) {
	c, shares := deal(t, 2, 2)
	v := verifier(t, c)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			id := testID
			id.Epoch = uint64(i)
			for range 4 {
				if _, bad, err := v.Combine(id, partials(t, shares, id)); err != nil || bad != nil {
					t.Error(bad, err)
				}
			}
		})
	}
	wg.Wait()
}

// TestAnyThresholdAgreesAtRandom draws sizes, nodes and orders: any t of n make
// the same verified key, and t-1 with a made-up one do not.
func TestAnyThresholdAgreesAtRandom(t *testing.T) {
	for round := range 12 {
		var draw fr.Element
		if _, err := draw.SetRandom(); err != nil {
			t.Fatal(err)
		}
		r := draw.Bits()
		n := 1 + int(r[0]%16)
		threshold := 1 + int(r[1]%uint64(n))
		t.Run(fmt.Sprintf("%d: %d of %d", round, threshold, n), func(t *testing.T) {
			c, shares := deal(t, threshold, n)
			v := verifier(t, c)
			all := partials(t, shares, testID)
			var first Signature
			for try := range 4 {
				for i := len(all) - 1; i > 0; i-- { // shuffle
					j := int(r[2] >> (try * 8) % uint64(i+1))
					all[i], all[j] = all[j], all[i]
				}
				sigma, bad, err := v.Combine(testID, all[:threshold])
				if err != nil || bad != nil {
					t.Fatal(bad, err)
				}
				if try == 0 {
					first = sigma
				} else if sigma != first {
					t.Fatal("another key")
				}
			}
			all[0] = lie(all[0])
			if _, bad, err := v.Combine(testID, all[:threshold]); err == nil || !slices.Equal(bad, []uint32{all[0].Index}) {
				t.Fatalf("named %v, error %v", bad, err)
			}
		})
	}
}
