package keys

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/big"
	"strings"
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

const uid = "00112233445566778899aabbccddeeff"

var testID = Disk("svm1owner/web", uid)

// deal splits a fresh secret and checks every share on the way.
func deal(t *testing.T, threshold, n int) (Commitments, []Share) {
	t.Helper()
	c, shares, err := Split(rand.Reader, threshold, n)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range shares {
		if err := c.Verify(s); err != nil {
			t.Fatal(err)
		}
	}
	return c, shares
}

func partials(t *testing.T, shares []Share, id ID) []Partial {
	t.Helper()
	out := make([]Partial, len(shares))
	for i, s := range shares {
		p, err := s.Partial(id)
		if err != nil {
			t.Fatal(err)
		}
		out[i] = p
	}
	return out
}

// subsets calls f with every subset of size k of 0..n-1.
func subsets(n, k int, f func([]int)) {
	var pick func(from int, chosen []int)
	pick = func(from int, chosen []int) {
		if len(chosen) == k {
			f(chosen)
			return
		}
		for i := from; i < n; i++ {
			pick(i+1, append(chosen[:len(chosen):len(chosen)], i))
		}
	}
	pick(0, nil)
}

func TestAnyThresholdOfSharesAgrees(t *testing.T) {
	for _, size := range []struct{ t, n int }{{1, 1}, {1, 3}, {2, 3}, {3, 4}, {4, 5}} {
		t.Run(fmt.Sprintf("%d of %d", size.t, size.n), func(t *testing.T) {
			c, shares := deal(t, size.t, size.n)
			all := partials(t, shares, testID)
			var first *Secret
			subsets(size.n, size.t, func(chosen []int) {
				var some []Partial
				for _, i := range chosen {
					public, err := c.Public(all[i].Index)
					if err != nil {
						t.Fatal(err)
					}
					if err := all[i].Verify(public, testID); err != nil {
						t.Fatal(err)
					}
					some = append(some, all[i])
				}
				sigma, err := Combine(size.t, some)
				if err != nil {
					t.Fatal(err)
				}
				if err := VerifyKey(c.GroupKey(), testID, sigma); err != nil {
					t.Fatalf("nodes %v: %v", chosen, err)
				}
				key, err := Derive(c.GroupKey(), testID, sigma)
				if err != nil {
					t.Fatal(err)
				}
				if first == nil {
					first = &key
				} else if *first != key {
					t.Fatalf("nodes %v give another key than the first subset", chosen)
				}
			})
		})
	}
}

// TestK4_FewerThanThresholdSharesSayNothing shows that t-1 shares are as
// consistent with any other secret as with the real one: for every candidate
// there is a polynomial of degree t-1 through all of them, so that the shares
// cannot tell candidates apart. And t-1 partials do not make the key.
func TestK4_FewerThanThresholdSharesSayNothing(t *testing.T) {
	const threshold, n = 3, 5
	c, shares := deal(t, threshold, n)
	subsets(n, threshold-1, func(chosen []int) {
		for range 3 {
			candidate, err := drawScalar(rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			xs, ys := []fr.Element{{}}, []fr.Element{candidate} // f(0) = candidate
			for _, i := range chosen {
				var x fr.Element
				x.SetUint64(uint64(shares[i].Index))
				xs, ys = append(xs, x), append(ys, shares[i].scalar)
			}
			if f := interpolate(xs, ys); len(f) != threshold {
				t.Fatalf("nodes %v and a random candidate lie on no polynomial of degree %d", chosen, threshold-1)
			} else {
				for k, i := range chosen {
					if got := evaluate(f, shares[i].Index); !got.Equal(&ys[k+1]) {
						t.Fatalf("node %d: the polynomial misses the share", shares[i].Index)
					}
				}
			}
		}
		var some []Share
		for _, i := range chosen {
			some = append(some, shares[i])
		}
		few := partials(t, some, testID)
		if _, err := Combine(threshold, few); err == nil {
			t.Fatal("t-1 partials were combined")
		}
		sigma, err := Combine(threshold-1, few)
		if err != nil {
			t.Fatal(err)
		}
		if VerifyKey(c.GroupKey(), testID, sigma) == nil {
			t.Fatalf("nodes %v alone made the key", chosen)
		}
	})
}

// interpolate returns the coefficients of the polynomial through the points.
func interpolate(xs, ys []fr.Element) []fr.Element {
	f := make([]fr.Element, len(xs))
	for i := range xs {
		basis := []fr.Element{fr.One()}
		denominator := fr.One()
		for j := range xs {
			if j == i {
				continue
			}
			next := make([]fr.Element, len(basis)+1)
			for k := range basis {
				var term fr.Element
				next[k+1].Add(&next[k+1], &basis[k])
				next[k].Sub(&next[k], term.Mul(&basis[k], &xs[j]))
			}
			basis = next
			var d fr.Element
			denominator.Mul(&denominator, d.Sub(&xs[i], &xs[j]))
		}
		for k := range basis {
			var term fr.Element
			term.Mul(&basis[k], &ys[i])
			term.Div(&term, &denominator)
			f[k].Add(&f[k], &term)
		}
	}
	return f
}

// TestK4_PartialsOfOtherKeysDoNotHelp: with all n partials of one key, another
// key's value is still not any combination that the code computes.
func TestK4_PartialsOfOtherKeysDoNotHelp(t *testing.T) {
	c, shares := deal(t, 2, 3)
	other := testID
	other.Name = "tls"
	sigma, err := Combine(2, partials(t, shares, other))
	if err != nil {
		t.Fatal(err)
	}
	if VerifyKey(c.GroupKey(), testID, sigma) == nil {
		t.Fatal("the key tls was accepted for disk")
	}
	if err := VerifyKey(c.GroupKey(), other, sigma); err != nil {
		t.Fatal(err)
	}
}

func TestK3_WrongPartialIsFoundAndNamed(t *testing.T) {
	c, shares := deal(t, 2, 3)
	stranger, strangers := deal(t, 2, 3)
	good := partials(t, shares, testID)
	staleID := testID
	staleID.Epoch = 7
	stale := partials(t, shares, staleID)
	swapped := Partial{Index: 2, point: good[0].point}
	forged := partials(t, strangers, testID)[1]
	for _, tt := range []struct {
		name    string
		partial Partial
	}{{"forged", forged}, {"swapped", swapped}, {"stale", stale[1]}, {"infinity", Partial{Index: 2}}} {
		t.Run(tt.name, func(t *testing.T) {
			public, err := c.Public(tt.partial.Index)
			if err != nil {
				t.Fatal(err)
			}
			err = tt.partial.Verify(public, testID)
			if err == nil || !strings.Contains(err.Error(), "node 2") {
				t.Fatalf("error is %v, want one that names node 2", err)
			}
			sigma, err := Combine(2, []Partial{good[0], tt.partial})
			if err != nil {
				t.Fatal(err)
			}
			if VerifyKey(c.GroupKey(), testID, sigma) == nil {
				t.Fatal("a key made with a wrong partial was accepted")
			}
		})
	}
	sigma, err := Combine(2, good)
	if err != nil {
		t.Fatal(err)
	}
	if VerifyKey(stranger.GroupKey(), testID, sigma) == nil {
		t.Fatal("a key was accepted under another group's key")
	}
}

func TestCheatingDealerIsCaught(t *testing.T) {
	c, shares := deal(t, 2, 3)
	bad := shares[1]
	one := fr.One()
	bad.scalar.Add(&bad.scalar, &one)
	if err := c.Verify(bad); err == nil || !strings.Contains(err.Error(), "share 2") {
		t.Fatalf("error is %v, want one that names share 2", err)
	}
	moved := shares[1]
	moved.Index = 3
	if c.Verify(moved) == nil {
		t.Fatal("a share was accepted at another index")
	}
}

func TestSplitBounds(t *testing.T) {
	for _, size := range [][2]int{{0, 1}, {2, 1}, {1, MaxNodes + 1}, {-1, 3}} {
		if _, _, err := Split(rand.Reader, size[0], size[1]); err == nil {
			t.Errorf("%v: accepted", size)
		}
	}
	if _, _, err := Split(bytes.NewReader(make([]byte, 63)), 1, 1); err == nil {
		t.Error("a share was drawn from too little randomness")
	}
}

func TestSecretsPrintRedacted(t *testing.T) {
	_, shares := deal(t, 1, 1)
	p := partials(t, shares, testID)[0]
	sigma, err := Combine(1, []Partial{p})
	if err != nil {
		t.Fatal(err)
	}
	key, err := Derive(shares[0].Public(), testID, sigma)
	if err != nil {
		t.Fatal(err)
	}
	recipient, err := NewRecipient()
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []any{shares[0], p, sigma, key, &key, recipient, struct{ K Secret }{key}} {
		var out strings.Builder
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "secret", secret)
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
			fmt.Fprintf(&out, " "+verb, secret)
		}
		b, err := json.Marshal(secret)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(b)
		text := out.String()
		for _, revealed := range [][]byte{shares[0].Bytes(), p.Bytes(), key.Bytes()} {
			if strings.Contains(text, hex.EncodeToString(revealed)[:16]) || strings.Contains(text, fmt.Sprint(revealed[:4])[1:8]) {
				t.Errorf("%T prints %s", secret, text)
			}
		}
		if _, isRecipient := secret.(*Recipient); !isRecipient && !strings.Contains(text, "redacted") {
			t.Errorf("%T prints %s", secret, text)
		}
	}
	key.Wipe()
	if !key.IsZero() {
		t.Error("a wiped key is not zero")
	}
}

func TestShareRoundTrip(t *testing.T) {
	_, shares := deal(t, 2, 2)
	again, err := ParseShare(2, shares[1].Bytes())
	if err != nil || again != shares[1] {
		t.Fatalf("share does not survive its bytes: %v", err)
	}
	order := fr.Modulus().FillBytes(make([]byte, ScalarSize))
	for name, b := range map[string][]byte{"zero": make([]byte, 32), "short": {1}, "modulus": order, "long": append(big.NewInt(1).FillBytes(make([]byte, 32)), 0)} {
		if _, err := ParseShare(1, b); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := ParseShare(0, shares[1].Bytes()); err == nil {
		t.Error("index 0 is the secret itself and was accepted")
	}
}

func TestEnvelope(t *testing.T) {
	r, err := NewRecipient()
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Public()) != RecipientKeySize {
		t.Fatalf("public key has %d bytes", len(r.Public()))
	}
	if err := CheckRecipientKey(r.Public()); err != nil {
		t.Fatal(err)
	}
	info := PartialInfo([]byte("grant"), 5, 1, []ID{testID})
	sealed, err := Seal(r.Public(), info, []byte("secret part"))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := r.Open(info, sealed)
	if err != nil || string(plain) != "secret part" {
		t.Fatalf("opened %q, %v", plain, err)
	}
	other, err := NewRecipient()
	if err != nil {
		t.Fatal(err)
	}
	for name, open := range map[string]func() ([]byte, error){
		"other node":  func() ([]byte, error) { return r.Open(PartialInfo([]byte("grant"), 5, 2, []ID{testID}), sealed) },
		"other grant": func() ([]byte, error) { return r.Open(PartialInfo([]byte("grand"), 5, 1, []ID{testID}), sealed) },
		"other key":   func() ([]byte, error) { return r.Open(PartialInfo([]byte("grant"), 5, 1, nil), sealed) },
		"other generation": func() ([]byte, error) {
			return r.Open(PartialInfo([]byte("grant"), 4, 1, []ID{testID}), sealed)
		},
		"other recipient": func() ([]byte, error) { return other.Open(info, sealed) },
		"flipped bit": func() ([]byte, error) {
			b := bytes.Clone(sealed)
			b[len(b)-1] ^= 1
			return r.Open(info, b)
		},
		"truncated": func() ([]byte, error) { return r.Open(info, sealed[:len(sealed)-1]) },
		"empty":     func() ([]byte, error) { return r.Open(info, nil) },
		"too long":  func() ([]byte, error) { return r.Open(info, make([]byte, MaxEnvelope+1)) },
	} {
		if _, err := open(); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
	if CheckRecipientKey(make([]byte, 32)) == nil {
		t.Error("an X25519 key alone was accepted")
	}
}

// TestRecipientKeyCheck holds the check of a key against the parsing of it, for
// keys that differ in any one coefficient.
func TestRecipientKeyCheck(t *testing.T) {
	r, err := NewRecipient()
	if err != nil {
		t.Fatal(err)
	}
	wrong := 0
	for i := range RecipientKeySize {
		for _, bits := range []byte{0xff, 0x80, 0x0f, 0xf0, 0x0d} {
			b := bytes.Clone(r.Public())
			b[i] |= bits
			_, parsed := kem().NewPublicKey(b)
			if checked := CheckRecipientKey(b); (checked == nil) != (parsed == nil) {
				t.Fatalf("byte %d with %#x: checked %v, parsed %v", i, bits, checked, parsed)
			}
			if parsed != nil {
				wrong++
			}
		}
	}
	if wrong == 0 {
		t.Error("no key was wrong: nothing was compared")
	}
}

func TestGrantID(t *testing.T) {
	a, b := [64]byte{1}, [64]byte{2}
	if GrantID("c", a) == GrantID("c", b) || GrantID("c", a) == GrantID("d", a) {
		t.Error("grant ids do not follow chain and release")
	}
	if bytes.Equal(AdvanceMessage("c", GrantID("c", a), 1), AdvanceMessage("c", GrantID("c", a), 2)) {
		t.Error("two generations are the same message")
	}
}
