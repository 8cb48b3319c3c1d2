package keys

import (
	"encoding/hex"
	"errors"
	"fmt"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
)

// PublicKeySize and PointSize are the sizes of compressed points of G2 (group
// and node keys) and of G1 (partials and signatures), in bytes.
const (
	PublicKeySize = bls.SizeOfG2AffineCompressed // 96
	PointSize     = bls.SizeOfG1AffineCompressed // 48
)

// PublicKey is a point of G2: the group key P = x·G2, or the key of one node's
// share, P_i = x_i·G2. Its bytes are the compressed form with the flag bits of
// the ZCash serialization; its text and JSON form is the lower-case hex of it.
type PublicKey struct{ point bls.G2Affine }

// ParsePublicKey reads 96 bytes. Points outside the prime-order subgroup, the
// point at infinity and uncompressed forms are errors.
func ParsePublicKey(b []byte) (PublicKey, error) {
	var k PublicKey
	if len(b) != PublicKeySize {
		return k, fmt.Errorf("public key has %d bytes, want %d", len(b), PublicKeySize)
	}
	n, err := k.point.SetBytes(b) // checks the subgroup
	if err != nil {
		return PublicKey{}, fmt.Errorf("decode public key: %w", err)
	}
	if again := k.point.Bytes(); n != PublicKeySize || string(again[:]) != string(b) {
		return PublicKey{}, errors.New("decode public key: not the compressed form of a point")
	}
	if k.point.IsInfinity() {
		return PublicKey{}, errors.New("public key is the point at infinity, which is nobody's")
	}
	return k, nil
}

// ParsePublicKeyHex reads 192 lower-case hex digits.
func ParsePublicKeyHex(s string) (PublicKey, error) {
	var k PublicKey
	err := k.UnmarshalText([]byte(s))
	return k, err
}

// Bytes returns the 96-byte compressed form.
func (k PublicKey) Bytes() []byte {
	b := k.point.Bytes()
	return b[:]
}

// Equal reports whether both are the same point.
func (k PublicKey) Equal(other PublicKey) bool { return k.point.Equal(&other.point) }

func (k PublicKey) String() string { return hex.EncodeToString(k.Bytes()) }

// MarshalText writes lower-case hex.
func (k PublicKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads exactly 192 lower-case hex digits.
func (k *PublicKey) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	if err != nil || hex.EncodeToString(b) != string(text) {
		return errors.New("public key is not lower-case hex")
	}
	parsed, err := ParsePublicKey(b)
	if err != nil {
		return err
	}
	*k = parsed
	return nil
}

// verify checks e(sigma, G2) = e(H(id), k): that sigma is k's secret times H(id).
func (k PublicKey) verify(id ID, sigma bls.G1Affine) error {
	if err := id.Validate(); err != nil {
		return err
	}
	if sigma.IsInfinity() || !sigma.IsInSubGroup() {
		return errors.New("not a point of the group")
	}
	h, err := id.point()
	if err != nil {
		return err
	}
	_, _, _, g2 := bls.Generators()
	h.Neg(&h)
	ok, err := bls.PairingCheck([]bls.G1Affine{sigma, h}, []bls.G2Affine{g2, k.point})
	if err != nil {
		return fmt.Errorf("pairing: %w", err)
	}
	if !ok {
		return errors.New("the pairing equation does not hold")
	}
	return nil
}
