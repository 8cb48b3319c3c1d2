package dkg

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"github.com/secretvm/secretvm/keys"
)

// TestLabelsAreConstant: nodes of two builds must understand each other.
func TestLabelsAreConstant(t *testing.T) {
	for _, l := range []struct{ got, want string }{
		{labelRound, "secretvm/v1/dkg-round"},
		{labelShare, "secretvm/v1/dkg-share"},
		{labelDeal, "secretvm/v1/dkg-deal"},
		{labelSeed, "secretvm/v1/dkg-seed"},
	} {
		if l.got != l.want {
			t.Errorf("label is %q, want %q", l.got, l.want)
		}
	}
}

// TestFormatsArePinned: nothing in these comes from randomness but by the seed.
func TestFormatsArePinned(t *testing.T) {
	r := Round{ChainID: "chain-1", Epoch: 2, Number: 3, Threshold: 2, Dealers: []uint32{1, 2, 3}}
	for i := uint32(1); i <= 3; i++ {
		k, err := keys.ParseRecipient(bytes.Repeat([]byte{byte(i)}, keys.RecipientSeedSize))
		if err != nil {
			t.Fatal(err)
		}
		r.Members = append(r.Members, Member{i, k.Public()})
	}
	if err := r.Validate(); err != nil {
		t.Fatal(err)
	}
	dealer, err := r.NewDealer(2, Seed{b: [SeedSize]byte{9}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	digest := r.Digest()
	d := Deal{Dealer: 2, Commitments: dealer.polynomial.Commit(), Proof: keys.Proof{7}}
	for i := range 3 {
		d.Sealed = append(d.Sealed, bytes.Repeat([]byte{byte(i)}, SealedSize))
	}
	answers, err := dealer.Justify([]Complaint{Complain(d, 3)})
	if err != nil {
		t.Fatal(err)
	}
	next := r
	next.Old = d.Commitments
	reshare := next.Digest()
	for _, p := range []struct {
		what string
		got  []byte
		want string
	}{
		{"a round", digest[:], "35ac15b1c6a8553ac9163a540b01cabd16aedc3821fa300ecfa6a744ff229784"},
		{"a resharing round", reshare[:], "18b9bac61c9f0b3abf5dc6ce57be7d62251a915b77164aa15c7b55b06d38cc56"},
		{"a dealer's polynomial", d.Commitments.Bytes(), "7ad4c441d7f01fcdf10029968a60e51190d6c6b5a634be407c47d38531a888be"},
		{"a proof's statement", r.statement(d), "9b03143e286e574b6b9477b4f4e76aa7a15c83abda0d4ec0c545ca6b7867c4ae"},
		{"an envelope's info", r.info(2, 3), "8cf4c13777e3c3976bfe0712229b1a2c3654c5e6639ae7480d00090ca4a0682b"},
		{"a deal", d.Encode(), "a2c3e2c60af76c568a72d8885b500608fb8513bcf0dac8f3e44b5d057b191653"},
		{"a complaint", Complain(d, 3).Encode(), "7af04471fa8868386744271934a62bbc464d2277248d021c700986c59abf899c"},
		{"a justification", answers[0].Encode(), "7c45422319e041a568869284d4f3899fdb27fa8208b4717f6f6d040a08ffb009"},
	} {
		if sum := sha256.Sum256(p.got); hex.EncodeToString(sum[:]) != p.want {
			t.Errorf("SHA-256 of %s is %x, want %s", p.what, sum, p.want)
		}
	}
}
