package keys

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// TestLabelsAreConstant: a changed label is another key, another envelope, a
// grant that nobody can advance.
func TestLabelsAreConstant(t *testing.T) {
	seen := map[string]bool{}
	for _, l := range []struct{ got, want string }{
		{labelKey, "secretvm/v1/key"},
		{labelPartial, "secretvm/v1/partial"},
		{labelGrant, "secretvm/v1/grant"},
		{labelAdvance, "secretvm/v1/advance"},
		{labelIBE, "secretvm/v1/ibe"},
		{labelProof, "secretvm/v1/proof"},
		{labelNonce, "secretvm/v1/proof-nonce"},
		{dst, "secretvm/v1/key:BLS12381G1_XMD:SHA-256_SSWU_RO_"},
	} {
		if l.got != l.want {
			t.Errorf("label is %q, want %q", l.got, l.want)
		}
		if seen[l.got] {
			t.Errorf("label %q has two uses", l.got)
		}
		seen[l.got] = true
	}
}

// counter is a reader of 1, 2, 3, … for values that must come out the same.
type counter struct{ next byte }

func (c *counter) Read(b []byte) (int, error) {
	for i := range b {
		c.next++
		b[i] = c.next
	}
	return len(b), nil
}

func pinned(t *testing.T, what string, got []byte, want string) {
	t.Helper()
	if sum := sha256.Sum256(got); hex.EncodeToString(sum[:]) != want {
		t.Errorf("SHA-256 of %s is %x, want %s", what, sum, want)
	}
}

// TestKeyIsPinned holds the encoding, the tag and the derivation still: a
// change of any would lose every disk. The secret is 2, so σ = H(ID)+H(ID).
func TestKeyIsPinned(t *testing.T) {
	var two fr.Element
	two.SetUint64(2)
	share := Share{Index: 1, scalar: two}
	p, err := share.Partial(testID)
	if err != nil {
		t.Fatal(err)
	}
	sigma, err := Combine(1, []Partial{p})
	if err != nil {
		t.Fatal(err)
	}
	h, err := bls.HashToG1(testID.Encode(), []byte("secretvm/v1/key:BLS12381G1_XMD:SHA-256_SSWU_RO_"))
	if err != nil {
		t.Fatal(err)
	}
	h.Double(&h)
	if !h.Equal(&sigma.point) {
		t.Fatal("σ is not twice the hash of the ID")
	}
	key, err := Derive(share.Public(), testID, sigma)
	if err != nil {
		t.Fatal(err)
	}
	const want = "11acc2b71bc40c86673d0225032a394681402a0ac2794340f326528742dfa710"
	if got := hex.EncodeToString(key.Bytes()); got != want {
		t.Fatalf("key is %s, want %s", got, want)
	}
}

// TestFormatsArePinned holds still what others store: commitments, proofs and
// ciphertexts made with known randomness.
func TestFormatsArePinned(t *testing.T) {
	f, err := NewPolynomial(&counter{}, 3)
	if err != nil {
		t.Fatal(err)
	}
	pinned(t, "commitments", f.Commit().Bytes(), "77c4686f60e2d898794ee117e47bb8f90011339a50992f8b10711b83e832e752")
	proof, err := f.Prove(&counter{}, []byte("context"))
	if err != nil {
		t.Fatal(err)
	}
	pinned(t, "a proof", proof[:], "94e6fd412bee59b28eb6dae51a087888a3b95164659c4ef37277d0b9c04955a8")
	share, err := f.Share(4)
	if err != nil {
		t.Fatal(err)
	}
	pinned(t, "a share", share.Bytes(), "ccb5185b270197591f9d1347ab185199de46dff1022b11c82ed977df02ad1dd6")
	sealed, err := Encrypt(&counter{}, f.Commit().GroupKey(), envID(), []byte("TOKEN=1"), []byte("aad"))
	if err != nil {
		t.Fatal(err)
	}
	pinned(t, "a ciphertext", sealed, "1dd27f203234a3303634899aeda7f5d2f74a814cfe4b2ce3643b744f5ad58797")
	pinned(t, "the info of partials", PartialInfo([]byte("grant"), 5, 1, []ID{testID}), "4bdc2e16e3eaf19ca82ffdc4326b3347c54ca382e8887745bb9de16640680ece")
	grant := GrantID("chain-1", [64]byte{1})
	pinned(t, "a grant's id", grant[:], "4ff6534210f7e0a272e42ab8f80be2cf76de6e0071a2e0183dbb3d4e355a8c1f")
	pinned(t, "an advance", AdvanceMessage("chain-1", grant, 3), "9a711b4be387252b4dcc646bec6738de5c5ef2581668a89173020fb25609f932")
}

// TestEnvelopeIsPinned opens an envelope that was sealed once.
func TestEnvelopeIsPinned(t *testing.T) {
	b, err := os.ReadFile("testdata/envelope.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct{ Private, Public, Sealed, Plaintext string }
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	r, err := ParseRecipient(unhex(t, v.Private))
	if err != nil {
		t.Fatal(err)
	}
	if hex.EncodeToString(r.Public()) != v.Public {
		t.Error("another public key")
	}
	plain, err := r.Open(PartialInfo([]byte("grant"), 5, 1, []ID{testID}), unhex(t, v.Sealed))
	if err != nil || hex.EncodeToString(plain) != v.Plaintext {
		t.Fatalf("opened %x, %v", plain, err)
	}
}
