package keys

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// ScalarSize is the size of a share's scalar, in bytes, big-endian.
const ScalarSize = fr.Bytes

// redacted is what every secret of this package prints as.
const redacted = "redacted"

// Share is one node's part of the group's secret: f(Index) of a polynomial f of
// degree t-1 with f(0) = x. It prints as "redacted"; Bytes reveals it.
type Share struct {
	Index  uint32 // 1 to n
	scalar fr.Element
}

// Commitments are the coefficients of f in the exponent, a_k·G2 for k = 0 to
// t-1 (Feldman): public, and enough to check every share and every partial. The
// first one is the group key, and the length is the threshold.
type Commitments []PublicKey

// Split draws a secret from random and shares it: any t of the n shares can
// use it, t-1 say nothing about it. The secret itself is never returned.
func Split(random io.Reader, t, n int) (Commitments, []Share, error) {
	if t < 1 || n < t || n > MaxNodes {
		return nil, nil, fmt.Errorf("split a secret: %d of %d shares, want 1 to n of at most %d", t, n, MaxNodes)
	}
	f, err := NewPolynomial(random, t)
	if err != nil {
		return nil, nil, fmt.Errorf("split a secret: %w", err)
	}
	defer f.Wipe()
	shares := make([]Share, n)
	for i := range shares {
		if shares[i], err = f.Share(uint32(i + 1)); err != nil {
			return nil, nil, fmt.Errorf("split a secret: %w", err)
		}
	}
	return f.Commit(), shares, nil
}

// drawScalar reads 64 bytes and reduces them modulo r, which leaves a bias of
// less than 2^-256. Zero is drawn again: its public key would be infinity.
func drawScalar(random io.Reader) (fr.Element, error) {
	var wide [64]byte
	defer clear(wide[:])
	for {
		if _, err := io.ReadFull(random, wide[:]); err != nil {
			return fr.Element{}, fmt.Errorf("draw a scalar: %w", err)
		}
		var e fr.Element
		e.SetBytes(wide[:])
		if !e.IsZero() {
			return e, nil
		}
	}
}

// GroupKey returns P. It panics on an empty list, which Validate refuses.
func (c Commitments) GroupKey() PublicKey { return c[0] }

// Threshold is the number of partials that make a key.
func (c Commitments) Threshold() int { return len(c) }

// Validate reports a list that no sharing can have made.
func (c Commitments) Validate() error {
	if len(c) < 1 || len(c) > MaxNodes {
		return fmt.Errorf("%d commitments, want 1 to %d", len(c), MaxNodes)
	}
	for i, k := range c {
		if k.point.IsInfinity() {
			return fmt.Errorf("commitment %d is the point at infinity", i)
		}
	}
	return nil
}

// Public returns P_i = f(index)·G2, the key that partials of that node verify
// under, from the commitments alone.
func (c Commitments) Public(index uint32) (PublicKey, error) {
	if err := c.Validate(); err != nil {
		return PublicKey{}, err
	}
	if index == 0 || index > MaxNodes {
		return PublicKey{}, fmt.Errorf("node index is %d, want 1 to %d", index, MaxNodes)
	}
	at := new(big.Int).SetUint64(uint64(index))
	var sum bls.G2Affine
	sum.SetInfinity()
	for k := len(c) - 1; k >= 0; k-- {
		sum.ScalarMultiplication(&sum, at)
		sum.Add(&sum, &c[k].point)
	}
	if sum.IsInfinity() {
		return PublicKey{}, fmt.Errorf("node %d has the point at infinity for a key", index)
	}
	return PublicKey{sum}, nil
}

// Verify checks a share against the commitments, so that a dealer that cheats
// is caught by the node that it cheats.
func (c Commitments) Verify(s Share) error {
	want, err := c.Public(s.Index)
	if err != nil {
		return fmt.Errorf("verify share %d: %w", s.Index, err)
	}
	if !s.Public().Equal(want) {
		return fmt.Errorf("verify share %d: it does not lie on the committed polynomial", s.Index)
	}
	return nil
}

// ParseShare reads the scalar of node index: 32 bytes, big-endian, reduced.
func ParseShare(index uint32, b []byte) (Share, error) {
	s := Share{Index: index}
	if index == 0 || index > MaxNodes {
		return Share{}, fmt.Errorf("share: index is %d, want 1 to %d", index, MaxNodes)
	}
	if err := s.scalar.SetBytesCanonical(b); err != nil {
		return Share{}, fmt.Errorf("share %d: not a reduced scalar of %d bytes", index, ScalarSize)
	}
	if s.scalar.IsZero() {
		return Share{}, errors.New("share is zero, which nobody can have drawn")
	}
	return s, nil
}

// Bytes reveals the scalar, 32 bytes big-endian, to be written to the node's
// own protected storage and nowhere else.
func (s Share) Bytes() []byte {
	b := s.scalar.Bytes()
	return b[:]
}

// Public returns P_i = x_i·G2.
func (s Share) Public() PublicKey {
	return multiplyBase(&s.scalar)
}

// multiplyBase is secret·G2.
func multiplyBase(secret *fr.Element) PublicKey {
	var k PublicKey
	n := secret.BigInt(new(big.Int))
	defer clear(n.Bits())
	k.point.ScalarMultiplicationBase(n)
	return k
}

// Wipe overwrites the share in place.
func (s *Share) Wipe() { s.scalar.SetZero() }

// IsZero reports whether there is no share: never read, or wiped.
func (s Share) IsZero() bool { return s.scalar.IsZero() }

// String hides the share, and so do Format, GoString, LogValue and MarshalJSON.
func (s Share) String() string { return redacted }

// Format prints "redacted" whatever the verb.
func (s Share) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue is "redacted".
func (s Share) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON writes "redacted": a share is stored by Bytes, on purpose.
func (s Share) MarshalJSON() ([]byte, error) { return json.Marshal(redacted) }
