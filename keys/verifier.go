package keys

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/consensys/gnark-crypto/ecc"
	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// lines are the line functions of the Miller loop of one point of G2, which do
// not depend on the point of G1: 25 KiB that spare a third of every pairing.
type lines = [2][len(bls.LoopCounter) - 1]bls.LineEvaluationAff

// baseLines are those of the generator.
var baseLines = sync.OnceValue(func() lines {
	_, _, _, g2 := bls.Generators()
	return bls.PrecomputeLines(g2)
})

// Verifier makes keys of one sharing from the nodes' partials: it combines first
// and looks at single partials only when the sum is wrong, so that a key that
// all answered rightly costs one check instead of t+1. It is safe for concurrent
// use.
type Verifier struct {
	sharing Commitments
	used    atomic.Bool
	lines   func() lines // of the group key: they pay from the second check on
}

// NewVerifier prepares the checks under the sharing's group key. The caller has
// compared that key with the one it trusts.
func NewVerifier(sharing Commitments) (*Verifier, error) {
	if err := sharing.Validate(); err != nil {
		return nil, err
	}
	point := sharing.GroupKey().point
	return &Verifier{
		sharing: slices.Clone(sharing),
		lines:   sync.OnceValue(func() lines { return bls.PrecomputeLines(point) }),
	}, nil
}

// Sharing returns what the verifier was made for.
func (v *Verifier) Sharing() Commitments { return slices.Clone(v.sharing) }

// Verify is VerifyKey under the group key of the sharing, in less time.
func (v *Verifier) Verify(id ID, sigma Signature) error {
	if err := v.verify([]ID{id}, []Signature{sigma}, nil); err != nil {
		return fmt.Errorf("key %s under group key %.16s…: %w", id, v.sharing.GroupKey(), err)
	}
	return nil
}

// Combine makes the key named id from partials of at least t different nodes. The
// first t are combined and the result is checked; only if that fails is every
// partial checked by itself, bad lists the nodes that lied, in ascending order,
// and the key comes from the others if they suffice. With a nil error the key is
// right, whoever is in bad.
func (v *Verifier) Combine(id ID, partials []Partial) (sigma Signature, bad []uint32, err error) {
	rows := make([][]Partial, len(partials))
	for i, p := range partials {
		rows[i] = []Partial{p}
	}
	sigmas, bad, err := v.CombineAll(nil, []ID{id}, rows)
	if err != nil {
		return Signature{}, bad, err
	}
	return sigmas[0], bad, nil
}

// CombineAll makes several keys at once from what each node answered: answers[i]
// holds the partials of one node for ids, in order. All keys are checked in one
// equation, each weighed by 128 bits from random, so that wrong ones cannot
// cancel each other; random may be nil for one id. A node with one wrong partial
// counts as a liar for all.
func (v *Verifier) CombineAll(random io.Reader, ids []ID, answers [][]Partial) (sigmas []Signature, bad []uint32, err error) {
	if len(ids) == 0 {
		return nil, nil, errors.New("combine: no keys are asked for")
	}
	seen := make(map[uint32]bool, len(answers))
	for _, row := range answers {
		if len(row) != len(ids) {
			return nil, nil, fmt.Errorf("combine: a node answered for %d keys, want %d", len(row), len(ids))
		}
		for _, p := range row {
			if p.Index != row[0].Index {
				return nil, nil, fmt.Errorf("combine: nodes %d and %d in one answer", row[0].Index, p.Index)
			}
		}
		if seen[row[0].Index] {
			return nil, nil, fmt.Errorf("combine: node %d is there twice", row[0].Index)
		}
		seen[row[0].Index] = true
	}
	if sigmas, err = v.combine(random, ids, answers); err == nil || len(answers) < v.sharing.Threshold() {
		return sigmas, nil, err
	}
	right, bad := v.sift(ids, answers)
	if len(bad) == 0 { // then what failed was not the nodes' doing
		return nil, nil, err
	}
	sigmas, err = v.combine(random, ids, right)
	if err != nil {
		return nil, bad, fmt.Errorf("nodes %v gave wrong partial keys: %w", bad, err)
	}
	return sigmas, bad, nil
}

// combine interpolates the first t answers and checks the keys.
func (v *Verifier) combine(random io.Reader, ids []ID, answers [][]Partial) ([]Signature, error) {
	sigmas := make([]Signature, len(ids))
	column := make([]Partial, len(answers))
	defer clear(column)
	for j := range ids {
		for i := range answers {
			column[i] = answers[i][j]
		}
		sigma, err := Combine(v.sharing.Threshold(), column)
		if err != nil {
			return nil, err
		}
		sigmas[j] = sigma
	}
	if err := v.verify(ids, sigmas, random); err != nil {
		clear(sigmas)
		return nil, fmt.Errorf("combine under group key %.16s…: %w", v.sharing.GroupKey(), err)
	}
	return sigmas, nil
}

// sift checks every partial under its node's key.
func (v *Verifier) sift(ids []ID, answers [][]Partial) (right [][]Partial, bad []uint32) {
	for _, row := range answers {
		public, err := v.sharing.Public(row[0].Index)
		for j := 0; err == nil && j < len(ids); j++ {
			err = row[j].Verify(public, ids[j])
		}
		if err != nil {
			bad = append(bad, row[0].Index)
		} else {
			right = append(right, row)
		}
	}
	slices.Sort(bad)
	return right, bad
}

// verify checks e(Σ w_j·σ_j, G2) = e(Σ w_j·H(id_j), P), with w_j = 1 if there is
// one key and 128 random bits otherwise: a wrong set passes with a chance of 2^-128.
func (v *Verifier) verify(ids []ID, sigmas []Signature, random io.Reader) error {
	points, hashes := make([]bls.G1Affine, len(ids)), make([]bls.G1Affine, len(ids))
	for j, id := range ids {
		if err := id.Validate(); err != nil {
			return err
		}
		points[j] = sigmas[j].point
		if points[j].IsInfinity() || !points[j].IsInSubGroup() {
			return errors.New("not a point of the group")
		}
		h, err := id.point()
		if err != nil {
			return err
		}
		hashes[j] = h
	}
	left, right := points[0], hashes[0]
	if len(ids) > 1 {
		weights, err := drawWeights(random, len(ids))
		if err != nil {
			return err
		}
		left, right = weighted(weights, points), weighted(weights, hashes)
	}
	right.Neg(&right)
	ok, err := v.paired(left, right)
	if err != nil {
		return fmt.Errorf("pairing: %w", err)
	}
	if !ok {
		return errors.New("the pairing equation does not hold")
	}
	return nil
}

// paired reports whether e(left, G2) · e(right, P) = 1. The library evaluates
// prepared lines in place: it gets copies.
func (v *Verifier) paired(left, right bls.G1Affine) (bool, error) {
	if v.used.Swap(true) {
		return bls.PairingCheckFixedQ([]bls.G1Affine{left, right}, []lines{baseLines(), v.lines()})
	}
	product, err := bls.MillerLoopFixedQ([]bls.G1Affine{left}, []lines{baseLines()})
	if err != nil {
		return false, err
	}
	other, err := bls.MillerLoop([]bls.G1Affine{right}, []bls.G2Affine{v.sharing.GroupKey().point})
	if err != nil {
		return false, err
	}
	product.Mul(&product, &other)
	result := bls.FinalExponentiation(&product)
	return result.IsOne(), nil
}

// drawWeights reads 16 bytes for each of n weights.
func drawWeights(random io.Reader, n int) ([]fr.Element, error) {
	if random == nil {
		return nil, fmt.Errorf("check %d keys at once: it takes randomness", n)
	}
	weights := make([]fr.Element, n)
	for i := range weights {
		var b [16]byte
		if _, err := io.ReadFull(random, b[:]); err != nil {
			return nil, fmt.Errorf("draw a weight: %w", err)
		}
		weights[i].SetBytes(b[:])
	}
	return weights, nil
}

// weighted is Σ w_i·P_i.
func weighted(weights []fr.Element, points []bls.G1Affine) (sum bls.G1Affine) {
	if len(points) > fewPoints {
		// Errors come from lengths that differ and from a number of tasks out of range.
		if _, err := sum.MultiExp(points, weights, ecc.MultiExpConfig{NbTasks: 1}); err != nil {
			panic(fmt.Sprintf("keys: weigh %d points by %d: %v", len(points), len(weights), err))
		}
		return sum
	}
	var total bls.G1Jac
	for i := range points {
		var term bls.G1Affine
		term.ScalarMultiplication(&points[i], bigInt(&weights[i]))
		total.AddMixed(&term)
	}
	return *sum.FromJacobian(&total)
}

// CombineVerified makes the key named id, as Verifier.Combine does, for a caller
// that makes only one: t right partials cost one check, and wrong ones are named
// in bad. group is the key that the caller trusts; a sharing of another is an
// error.
func CombineVerified(group PublicKey, sharing Commitments, id ID, partials []Partial) (sigma Signature, bad []uint32, err error) {
	v, err := NewVerifier(sharing)
	if err != nil {
		return Signature{}, nil, err
	}
	if !sharing.GroupKey().Equal(group) {
		return Signature{}, nil, fmt.Errorf("combine: the sharing is of group key %.16s…, want %.16s…", sharing.GroupKey(), group)
	}
	return v.Combine(id, partials)
}
