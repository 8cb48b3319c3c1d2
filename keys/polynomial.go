package keys

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// Polynomial is what a dealer knows: f of degree t-1 over the scalar field, whose
// value at zero is the secret and at i the share of i. It prints as "redacted".
type Polynomial struct{ coefficients []fr.Element }

// NewPolynomial draws a polynomial with a fresh secret from random.
func NewPolynomial(random io.Reader, t int) (*Polynomial, error) {
	secret, err := drawScalar(random)
	if err != nil {
		return nil, err
	}
	defer secret.SetZero()
	return drawPolynomial(random, secret, t)
}

// PolynomialOf draws a polynomial whose secret is the share itself, so that a share
// can be shared again: in resharing, and for recovery.
func PolynomialOf(random io.Reader, s Share, t int) (*Polynomial, error) {
	if s.IsZero() {
		return nil, errors.New("share again: there is no share")
	}
	return drawPolynomial(random, s.scalar, t)
}

func drawPolynomial(random io.Reader, secret fr.Element, t int) (*Polynomial, error) {
	if t < 1 || t > MaxNodes {
		return nil, fmt.Errorf("draw a polynomial: threshold is %d, want 1 to %d", t, MaxNodes)
	}
	f := &Polynomial{make([]fr.Element, t)}
	f.coefficients[0] = secret
	for k := 1; k < t; k++ {
		a, err := drawScalar(random)
		if err != nil {
			f.Wipe()
			return nil, fmt.Errorf("draw a polynomial: %w", err)
		}
		f.coefficients[k] = a
	}
	return f, nil
}

// Commit returns the coefficients in the exponent.
func (f *Polynomial) Commit() Commitments {
	c := make(Commitments, len(f.coefficients))
	for k := range f.coefficients {
		c[k] = multiplyBase(&f.coefficients[k])
	}
	return c
}

// Share returns f(index). A share of zero, which has a chance of 2^-255, is an
// error: draw another polynomial.
func (f *Polynomial) Share(index uint32) (Share, error) {
	if index == 0 || index > MaxNodes {
		return Share{}, fmt.Errorf("share: index is %d, want 1 to %d", index, MaxNodes)
	}
	s := Share{Index: index, scalar: evaluate(f.coefficients, index)}
	if s.IsZero() {
		return Share{}, fmt.Errorf("share %d is zero", index)
	}
	return s, nil
}

// evaluate is f(x) by Horner's rule.
func evaluate(f []fr.Element, x uint32) fr.Element {
	var at, sum fr.Element
	at.SetUint64(uint64(x))
	for k := len(f) - 1; k >= 0; k-- {
		sum.Mul(&sum, &at).Add(&sum, &f[k])
	}
	return sum
}

// Wipe overwrites the coefficients in place.
func (f *Polynomial) Wipe() { clear(f.coefficients) }

// SumShares adds shares of one index that several dealers dealt: the share of the
// sum of their polynomials.
func SumShares(shares []Share) (Share, error) {
	if len(shares) == 0 {
		return Share{}, errors.New("add shares: there are none")
	}
	sum := Share{Index: shares[0].Index}
	for _, s := range shares {
		if s.Index != sum.Index {
			return Share{}, fmt.Errorf("add shares: of nodes %d and %d", sum.Index, s.Index)
		}
		sum.scalar.Add(&sum.scalar, &s.scalar)
	}
	if sum.IsZero() {
		return Share{}, fmt.Errorf("add shares: the sum of node %d is zero", sum.Index)
	}
	return sum, nil
}

// InterpolateShares returns Σ λ_i·s_i over shares s_i of one index that the
// dealers dealt of their own shares: the share of the polynomial whose secret is
// what the dealers' shares interpolate to at zero. dealers[i] dealt shares[i].
func InterpolateShares(dealers []uint32, shares []Share) (Share, error) {
	if len(dealers) != len(shares) {
		return Share{}, fmt.Errorf("interpolate shares: %d of %d dealers", len(shares), len(dealers))
	}
	weights, err := lagrange(dealers)
	if err != nil {
		return Share{}, fmt.Errorf("interpolate shares: %w", err)
	}
	weighed := make([]Share, len(shares))
	defer clear(weighed)
	for i, s := range shares {
		weighed[i].Index = s.Index
		weighed[i].scalar.Mul(&weights[i], &s.scalar)
	}
	return SumShares(weighed)
}

// SumCommitments adds the commitments of several dealers coefficient by
// coefficient: those of the sum of their polynomials.
func SumCommitments(all []Commitments) (Commitments, error) {
	weights := make([]fr.Element, len(all))
	for i := range weights {
		weights[i].SetOne()
	}
	return weigh(weights, all)
}

// InterpolateCommitments returns Σ λ_i·C_i, which commits to the polynomial whose
// shares InterpolateShares returns. dealers[i] made all[i].
func InterpolateCommitments(dealers []uint32, all []Commitments) (Commitments, error) {
	if len(dealers) != len(all) {
		return nil, fmt.Errorf("interpolate commitments: %d of %d dealers", len(all), len(dealers))
	}
	weights, err := lagrange(dealers)
	if err != nil {
		return nil, fmt.Errorf("interpolate commitments: %w", err)
	}
	return weigh(weights, all)
}

// weigh returns Σ w_i·C_i, coefficient by coefficient.
func weigh(weights []fr.Element, all []Commitments) (Commitments, error) {
	if len(all) == 0 {
		return nil, errors.New("add commitments: there are none")
	}
	for i, c := range all {
		if err := c.Validate(); err != nil {
			return nil, fmt.Errorf("add commitments of dealer %d in the list: %w", i, err)
		}
		if len(c) != len(all[0]) {
			return nil, fmt.Errorf("add commitments: %d and %d of them", len(all[0]), len(c))
		}
	}
	sum := make(Commitments, len(all[0]))
	terms := make([]PublicKey, len(all))
	for k := range sum {
		for i, c := range all {
			terms[i] = c[k]
		}
		sum[k] = combination(weights, terms)
	}
	if err := sum.Validate(); err != nil {
		return nil, fmt.Errorf("add commitments: %w", err)
	}
	return sum, nil
}

// lagrange returns the weight of every index at zero: Π_{j≠i} x_j / (x_j - x_i).
func lagrange(indexes []uint32) ([]fr.Element, error) {
	nums, dens := make([]fr.Element, len(indexes)), make([]fr.Element, len(indexes))
	for i, index := range indexes {
		if index == 0 || index > MaxNodes {
			return nil, fmt.Errorf("node index is %d, want 1 to %d", index, MaxNodes)
		}
		var xi fr.Element
		xi.SetUint64(uint64(index))
		nums[i].SetOne()
		dens[i].SetOne()
		for j, other := range indexes {
			if j == i {
				continue
			}
			if other == index {
				return nil, fmt.Errorf("node %d is there twice", other)
			}
			var xj, diff fr.Element
			xj.SetUint64(uint64(other))
			nums[i].Mul(&nums[i], &xj)
			dens[i].Mul(&dens[i], diff.Sub(&xj, &xi))
		}
	}
	for i, inverse := range fr.BatchInvert(dens) {
		nums[i].Mul(&nums[i], &inverse)
	}
	return nums, nil
}

// bigInt is e as the curve library wants its scalars. Public values only.
func bigInt(e *fr.Element) *big.Int { return e.BigInt(new(big.Int)) }

// String hides the polynomial.
func (f *Polynomial) String() string { return redacted }

// Format prints "redacted" whatever the verb.
func (f *Polynomial) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, redacted) }

// LogValue is "redacted".
func (f *Polynomial) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON writes "redacted".
func (f *Polynomial) MarshalJSON() ([]byte, error) { return json.Marshal(redacted) }
