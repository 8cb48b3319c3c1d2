package dkg

import (
	"crypto/sha256"
	"crypto/sha3"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"

	"github.com/secretvm/secretvm/keys"
)

// SealedSize is the size of one sealed share, in bytes.
const SealedSize = keys.ScalarSize + keys.EnvelopeOverhead

// dealVersion is the first byte of an encoded deal.
const dealVersion = 1

// dealHeader is the size of what stands before the commitments: version, dealer
// and the number of commitments and of sealed shares, in bytes.
const dealHeader = 1 + 4 + 2 + 2

// MaxDeal is the size of the largest deal, in bytes.
const MaxDeal = dealHeader + keys.MaxNodes*(keys.PublicKeySize+SealedSize) + keys.ProofSize

func dealSize(threshold, members int) int {
	return dealHeader + threshold*keys.PublicKeySize + keys.ProofSize + members*SealedSize
}

// Deal is what a dealer posts. All of it is public.
type Deal struct {
	Dealer      uint32
	Commitments keys.Commitments // the dealer's polynomial in the exponent
	Proof       keys.Proof       // that the dealer knows it
	Sealed      [][]byte         // one share for each member of the round, in order
}

// Encode returns the deal's only form, integers big-endian: version 1 (one
// byte), dealer (uint32), number t of commitments and n of shares (uint16 each),
// t compressed points of G2, the proof, n envelopes of SealedSize bytes.
func (d Deal) Encode() []byte {
	b := make([]byte, 0, dealSize(len(d.Commitments), len(d.Sealed)))
	b = append(b, dealVersion)
	b = binary.BigEndian.AppendUint32(b, d.Dealer)
	b = binary.BigEndian.AppendUint16(b, uint16(len(d.Commitments)))
	b = binary.BigEndian.AppendUint16(b, uint16(len(d.Sealed)))
	b = append(b, d.Commitments.Bytes()...)
	b = append(b, d.Proof[:]...)
	for _, s := range d.Sealed {
		b = append(b, s...)
	}
	return b
}

// ParseDeal reads what Encode wrote and nothing else. It decodes as many points
// as the bytes hold: a chain uses Round.Read.
func ParseDeal(b []byte) (Deal, error) {
	if len(b) < dealHeader || b[0] != dealVersion {
		return Deal{}, fmt.Errorf("decode deal: %d bytes, want version %d and a header of %d", len(b), dealVersion, dealHeader)
	}
	d := Deal{Dealer: binary.BigEndian.Uint32(b[1:])}
	t, n := int(binary.BigEndian.Uint16(b[5:])), int(binary.BigEndian.Uint16(b[7:]))
	if d.Dealer == 0 || d.Dealer > keys.MaxNodes || t < 1 || t > keys.MaxNodes || n < 1 || n > keys.MaxNodes {
		return Deal{}, fmt.Errorf("decode deal: dealer %d, %d commitments, %d shares, want each 1 to %d", d.Dealer, t, n, keys.MaxNodes)
	}
	if len(b) != dealSize(t, n) {
		return Deal{}, fmt.Errorf("decode deal: %d bytes, want %d for %d commitments and %d shares", len(b), dealSize(t, n), t, n)
	}
	b = b[dealHeader:]
	var err error
	if d.Commitments, err = keys.ParseCommitments(b[:t*keys.PublicKeySize]); err != nil {
		return Deal{}, fmt.Errorf("decode deal of node %d: %w", d.Dealer, err)
	}
	b = b[t*keys.PublicKeySize:]
	b = b[copy(d.Proof[:], b):]
	d.Sealed = make([][]byte, n)
	for i := range d.Sealed {
		d.Sealed[i] = append([]byte(nil), b[i*SealedSize:(i+1)*SealedSize]...)
	}
	return d, nil
}

// Digest names the deal: SHA-256 of its encoding.
func (d Deal) Digest() [32]byte { return sha256.Sum256(d.Encode()) }

// SeedSize is the size of a seed, in bytes.
const SeedSize = 32

// Seed is what a dealer draws for one round and keeps until the round is over:
// its polynomial follows from it, so that it can answer complaints after a
// restart. It prints as "redacted".
type Seed struct{ b [SeedSize]byte }

// NewSeed draws a seed.
func NewSeed(random io.Reader) (Seed, error) {
	var s Seed
	if _, err := io.ReadFull(random, s.b[:]); err != nil {
		return Seed{}, fmt.Errorf("draw a dealer's seed: %w", err)
	}
	return s, nil
}

// ParseSeed reads what Bytes wrote.
func ParseSeed(b []byte) (Seed, error) {
	var s Seed
	if len(b) != SeedSize {
		return s, fmt.Errorf("dealer's seed has %d bytes, want %d", len(b), SeedSize)
	}
	copy(s.b[:], b)
	return s, nil
}

// Bytes reveals the seed, for the node's own protected storage, before the deal
// is posted.
func (s Seed) Bytes() []byte { return append([]byte(nil), s.b[:]...) }

// Wipe overwrites the seed in place.
func (s *Seed) Wipe() { clear(s.b[:]) }

// Dealer is a node that deals in a round. It prints as "redacted".
type Dealer struct {
	round      Round
	index      uint32
	polynomial *keys.Polynomial
}

// NewDealer makes the dealer of that index. share is its old share in resharing
// and nil for a new key. The same round, seed and share give the same polynomial.
func (r Round) NewDealer(index uint32, seed Seed, share *keys.Share) (*Dealer, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	if err := r.dealer(index); err != nil {
		return nil, err
	}
	if (share != nil) != (r.Old != nil) {
		return nil, fmt.Errorf("deal as node %d: an old share is there: %t, the round is resharing: %t", index, share != nil, r.Old != nil)
	}
	d := &Dealer{round: r, index: index}
	random := stream(r, index, seed)
	var err error
	if share == nil {
		d.polynomial, err = keys.NewPolynomial(random, r.Threshold)
	} else {
		if share.Index != index {
			return nil, fmt.Errorf("deal as node %d: the share is of node %d", index, share.Index)
		}
		if err := r.Old.Verify(*share); err != nil {
			return nil, fmt.Errorf("deal as node %d: %w", index, err)
		}
		d.polynomial, err = keys.PolynomialOf(random, *share, r.Threshold)
	}
	if err != nil {
		return nil, fmt.Errorf("deal as node %d: %w", index, err)
	}
	return d, nil
}

// stream is SHAKE256 over the seed and what it is used for.
func stream(r Round, index uint32, seed Seed) io.Reader {
	round := r.Digest()
	input := appendPart(nil, []byte(labelSeed))
	input = append(input, seed.b[:]...)
	input = append(input, round[:]...)
	input = binary.BigEndian.AppendUint32(input, index)
	defer clear(input)
	x := sha3.NewSHAKE256()
	_, _ = x.Write(input) // never fails
	return x
}

// Deal makes the deal. Sealing is randomised: a second call makes another deal of
// the same polynomial, of which only one may be posted.
func (d *Dealer) Deal(random io.Reader) (Deal, error) {
	out := Deal{Dealer: d.index, Commitments: d.polynomial.Commit()}
	for _, m := range d.round.Members {
		share, err := d.polynomial.Share(m.Index)
		if err != nil {
			return Deal{}, fmt.Errorf("deal as node %d: %w", d.index, err)
		}
		plain := share.Bytes()
		sealed, err := keys.Seal(m.Key, d.round.info(d.index, m.Index), plain)
		clear(plain)
		share.Wipe()
		if err != nil {
			return Deal{}, fmt.Errorf("deal to node %d: %w", m.Index, err)
		}
		out.Sealed = append(out.Sealed, sealed)
	}
	var err error
	if out.Proof, err = d.polynomial.Prove(random, d.round.statement(out)); err != nil {
		return Deal{}, fmt.Errorf("deal as node %d: %w", d.index, err)
	}
	return out, nil
}

// info is the info of the envelope of a share: round, dealer and member.
func (r Round) info(dealer, member uint32) []byte {
	round := r.Digest()
	b := appendPart(nil, []byte(labelShare))
	b = append(b, round[:]...)
	b = binary.BigEndian.AppendUint32(b, dealer)
	return binary.BigEndian.AppendUint32(b, member)
}

// Wipe overwrites the polynomial.
func (d *Dealer) Wipe() { d.polynomial.Wipe() }

const redacted = "redacted"

// String hides the seed.
func (s Seed) String() string { return redacted }

// Format prints "redacted" whatever the verb.
func (s Seed) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue is "redacted".
func (s Seed) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText writes "redacted": a seed is stored by Bytes, on purpose.
func (s Seed) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// String hides the dealer.
func (d *Dealer) String() string { return redacted }

// Format prints "redacted" whatever the verb.
func (d *Dealer) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue is "redacted".
func (d *Dealer) LogValue() slog.Value { return slog.StringValue(redacted) }
