package keys

import "fmt"

// Bytes returns the compressed points one after the other, 96 bytes each.
func (c Commitments) Bytes() []byte {
	out := make([]byte, 0, len(c)*PublicKeySize)
	for _, k := range c {
		out = append(out, k.Bytes()...)
	}
	return out
}

// ParseCommitments reads 1 to MaxNodes compressed points, none of them infinity.
func ParseCommitments(b []byte) (Commitments, error) {
	if len(b) == 0 || len(b)%PublicKeySize != 0 || len(b) > MaxNodes*PublicKeySize {
		return nil, fmt.Errorf("decode commitments: %d bytes, want 1 to %d points of %d", len(b), MaxNodes, PublicKeySize)
	}
	c := make(Commitments, len(b)/PublicKeySize)
	for i := range c {
		k, err := ParsePublicKey(b[i*PublicKeySize : (i+1)*PublicKeySize])
		if err != nil {
			return nil, fmt.Errorf("decode commitment %d: %w", i, err)
		}
		c[i] = k
	}
	return c, nil
}

// Equal reports whether both commit to the same polynomial.
func (c Commitments) Equal(other Commitments) bool {
	if len(c) != len(other) {
		return false
	}
	for i := range c {
		if !c[i].Equal(other[i]) {
			return false
		}
	}
	return true
}
