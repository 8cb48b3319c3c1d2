package dkg

import (
	"bytes"
	"crypto/rand"
	"testing"

	"github.com/secretvm/secretvm/keys"
)

func TestDealSize(t *testing.T) {
	n := newNetwork(t, 2, []uint32{1, 2, 3})
	n.postAll(t)
	b := n.deals[0].Encode()
	if len(b) != n.DealSize() || len(n.deals[0].Sealed[0]) != SealedSize {
		t.Fatalf("a deal has %d bytes, want %d; a share %d, want %d", len(b), n.DealSize(), len(n.deals[0].Sealed[0]), SealedSize)
	}
	if dealSize(keys.MaxNodes, keys.MaxNodes) != MaxDeal {
		t.Error("MaxDeal is not the size of the largest deal")
	}
	d, err := ParseDeal(b)
	if err != nil || d.Digest() != n.deals[0].Digest() {
		t.Fatalf("a deal does not survive its encoding: %v", err)
	}
	for _, i := range []int{0, 1, 2, 3, 5, 6, 7, 8} { // all of the header but the dealer's low byte
		c := bytes.Clone(b)
		c[i] ^= 0x80
		if _, err := ParseDeal(c); err == nil {
			t.Errorf("byte %d altered: accepted", i)
		}
	}
}

func FuzzParseDeal(f *testing.F) {
	n := newNetwork(f, 2, []uint32{1, 2})
	d, err := n.dealer(f, 1).Deal(rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(d.Encode())
	f.Add([]byte{dealVersion, 0, 0, 0, 1, 0, 1, 0, 1})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := ParseDeal(b)
		if err == nil && !bytes.Equal(d.Encode(), b) {
			t.Fatalf("%x was read as another deal", b)
		}
		if _, err := n.Read(b); err == nil && n.Check(d) != nil {
			t.Fatal("Read accepts what Check does not")
		}
	})
}

func FuzzParseComplaint(f *testing.F) {
	f.Add(Complaint{Dealer: 1, Member: 2}.Encode())
	f.Add(make([]byte, ComplaintSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseComplaint(b)
		if err == nil && !bytes.Equal(c.Encode(), b) {
			t.Fatalf("%x was read as %v", b, c)
		}
	})
}

func FuzzParseJustification(f *testing.F) {
	f.Add(Justification{1, 2, [32]byte{31: 1}}.Encode())
	f.Add(make([]byte, JustificationSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		j, err := ParseJustification(b)
		if err == nil && !bytes.Equal(j.Encode(), b) {
			t.Fatalf("%x was read as %v", b, j)
		}
	})
}
