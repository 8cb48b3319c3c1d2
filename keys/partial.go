package keys

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
)

// Partial is one node's part of a key: σ_i = x_i·H(ID). t of them make the key,
// so it travels only inside an envelope, and prints as "redacted".
type Partial struct {
	Index uint32 // the node's
	point bls.G1Affine
}

// Signature is σ = x·H(ID): the key before Derive. It prints as "redacted".
type Signature struct{ point bls.G1Affine }

// Partial computes the share's part of the key named id.
func (s Share) Partial(id ID) (Partial, error) {
	if err := id.Validate(); err != nil {
		return Partial{}, err
	}
	h, err := id.point()
	if err != nil {
		return Partial{}, err
	}
	p := Partial{Index: s.Index}
	n := s.scalar.BigInt(new(big.Int))
	defer clear(n.Bits())
	p.point.ScalarMultiplication(&h, n) // GLV: half the doublings
	return p, nil
}

// ParsePartial reads the 48-byte compressed point that node index answered.
func ParsePartial(index uint32, b []byte) (Partial, error) {
	if index == 0 || index > MaxNodes {
		return Partial{}, fmt.Errorf("partial key: node index is %d, want 1 to %d", index, MaxNodes)
	}
	point, err := parsePoint(b)
	if err != nil {
		return Partial{}, fmt.Errorf("partial key of node %d: %w", index, err)
	}
	return Partial{Index: index, point: point}, nil
}

// parsePoint reads a compressed point of the prime-order subgroup of G1.
func parsePoint(b []byte) (p bls.G1Affine, err error) {
	if len(b) != PointSize {
		return p, fmt.Errorf("point has %d bytes, want %d", len(b), PointSize)
	}
	if _, err := p.SetBytes(b); err != nil { // checks the subgroup
		return p, fmt.Errorf("decode point: %w", err)
	}
	if again := p.Bytes(); string(again[:]) != string(b) || p.IsInfinity() {
		return p, errors.New("decode point: not the compressed form of a point other than infinity")
	}
	return p, nil
}

// Bytes reveals the 48-byte compressed point, to be sealed.
func (p Partial) Bytes() []byte {
	b := p.point.Bytes()
	return b[:]
}

// Verify checks the partial against the node's public key and the key's id. The
// error names the node.
func (p Partial) Verify(node PublicKey, id ID) error {
	if err := node.verify(id, p.point); err != nil {
		return fmt.Errorf("partial key of node %d for %s: %w", p.Index, id, err)
	}
	return nil
}

// Combine interpolates t partials of different nodes to σ (Lagrange at zero).
// It does not look whether they are right: verify each before, σ after.
func Combine(threshold int, partials []Partial) (Signature, error) {
	if threshold < 1 || len(partials) < threshold {
		return Signature{}, fmt.Errorf("combine: %d partial keys, want %d", len(partials), threshold)
	}
	partials = partials[:threshold]
	indexes := make([]uint32, len(partials))
	for i, p := range partials {
		indexes[i] = p.Index
	}
	weights, err := lagrange(indexes)
	if err != nil {
		return Signature{}, fmt.Errorf("combine: %w", err)
	}
	var sum bls.G1Jac
	for i := range partials {
		var term bls.G1Affine
		term.ScalarMultiplication(&partials[i].point, weights[i].BigInt(new(big.Int)))
		sum.AddMixed(&term)
	}
	var sigma Signature
	sigma.point.FromJacobian(&sum)
	return sigma, nil
}

// VerifyKey checks e(σ, G2) = e(H(id), P): that σ is the key named id of the
// group whose key is P, whoever answered.
func VerifyKey(group PublicKey, id ID, sigma Signature) error {
	if err := group.verify(id, sigma.point); err != nil {
		return fmt.Errorf("key %s under group key %.16s…: %w", id, group, err)
	}
	return nil
}

// Wipe overwrites the partial in place.
func (p *Partial) Wipe() { p.point = bls.G1Affine{} }

// Wipe overwrites the signature in place.
func (s *Signature) Wipe() { s.point = bls.G1Affine{} }

// String hides the partial; Bytes reveals it.
func (p Partial) String() string { return redacted }

// Format prints "redacted" whatever the verb.
func (p Partial) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue is "redacted".
func (p Partial) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON writes "redacted".
func (p Partial) MarshalJSON() ([]byte, error) { return json.Marshal(redacted) }

// String hides the signature; only Derive uses it.
func (s Signature) String() string { return redacted }

// Format prints "redacted" whatever the verb.
func (s Signature) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue is "redacted".
func (s Signature) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON writes "redacted".
func (s Signature) MarshalJSON() ([]byte, error) { return json.Marshal(redacted) }
