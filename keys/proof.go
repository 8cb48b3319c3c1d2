package keys

import (
	"crypto/sha512"
	"errors"
	"fmt"
	"io"

	"github.com/consensys/gnark-crypto/ecc"
	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// ProofSize is the size of a proof, in bytes: challenge and response, each a
// reduced scalar of 32 bytes big-endian.
const ProofSize = 2 * ScalarSize

// Proof shows that whoever made commitments knows every coefficient under them:
// a Schnorr proof of all at once, with the powers of the challenge as weights,
// made non-interactive by hashing. Without it the last of several dealers could
// subtract the others' commitments from its own and choose the sum.
type Proof [ProofSize]byte

// Prove proves knowledge of f's coefficients; context says what for, and the
// proof holds for nothing else. The nonce depends on random and on the secret,
// so that bad randomness alone does not reveal it.
func (f *Polynomial) Prove(random io.Reader, context []byte) (Proof, error) {
	var proof Proof
	commitments := f.Commit()
	if err := commitments.Validate(); err != nil {
		return proof, fmt.Errorf("prove a polynomial: %w", err)
	}
	nonce, err := f.nonce(random, context)
	if err != nil {
		return proof, fmt.Errorf("prove a polynomial: %w", err)
	}
	defer nonce.SetZero()
	c := challenge(context, commitments, multiplyBase(&nonce))
	z, power := nonce, fr.One()
	defer z.SetZero()
	for k := range f.coefficients {
		var term fr.Element
		power.Mul(&power, &c)
		z.Add(&z, term.Mul(&power, &f.coefficients[k]))
	}
	cb, zb := c.Bytes(), z.Bytes()
	copy(proof[:ScalarSize], cb[:])
	copy(proof[ScalarSize:], zb[:])
	return proof, nil
}

// nonce hashes fresh randomness with the secret and the statement.
func (f *Polynomial) nonce(random io.Reader, context []byte) (fr.Element, error) {
	var fresh [64]byte
	defer clear(fresh[:])
	if _, err := io.ReadFull(random, fresh[:]); err != nil {
		return fr.Element{}, fmt.Errorf("draw a nonce: %w", err)
	}
	secrets := make([]byte, 0, len(f.coefficients)*ScalarSize)
	for k := range f.coefficients {
		b := f.coefficients[k].Bytes()
		secrets = append(secrets, b[:]...)
	}
	input := join([]byte(labelNonce), fresh[:], secrets, context)
	wide := sha512.Sum512(input)
	clear(secrets)
	clear(input)
	defer clear(wide[:])
	var e fr.Element
	e.SetBytes(wide[:])
	if e.IsZero() {
		return e, errors.New("the nonce is zero")
	}
	return e, nil
}

// VerifyProof checks a proof for commitments c: with e and z read from it and R = z·G2 - Σ e^(k+1)·C_k,
// e must be the hash of context, commitments and R.
func VerifyProof(c Commitments, context []byte, proof Proof) error {
	if err := c.Validate(); err != nil {
		return fmt.Errorf("verify proof: %w", err)
	}
	var e, z fr.Element
	if e.SetBytesCanonical(proof[:ScalarSize]) != nil || z.SetBytesCanonical(proof[ScalarSize:]) != nil {
		return errors.New("verify proof: challenge or response is not a reduced scalar")
	}
	_, _, _, g2 := bls.Generators()
	weights, points := make([]fr.Element, len(c)+1), make([]PublicKey, len(c)+1)
	weights[0], points[0] = z, PublicKey{g2}
	power := fr.One()
	for k := range c {
		power.Mul(&power, &e)
		weights[k+1].Neg(&power)
		points[k+1] = c[k]
	}
	if again := challenge(context, c, combination(weights, points)); !again.Equal(&e) {
		return errors.New("verify proof: whoever made the commitments does not know what is under them")
	}
	return nil
}

// challenge hashes the statement and the first move to a scalar.
func challenge(context []byte, commitments Commitments, r PublicKey) fr.Element {
	wide := sha512.Sum512(join([]byte(labelProof), context, commitments.Bytes(), r.Bytes()))
	var e fr.Element
	e.SetBytes(wide[:])
	return e
}

// fewPoints is the length up to which one multiplication after the other is
// faster than the library's bucket method.
const fewPoints = 8

// combination is Σ w_i·K_i, of public scalars.
func combination(weights []fr.Element, points []PublicKey) PublicKey {
	var sum bls.G2Jac
	if len(points) > fewPoints {
		affine := make([]bls.G2Affine, len(points))
		for i, k := range points {
			affine[i] = k.point
		}
		// Errors come from lengths that differ and from a number of tasks out of range.
		if _, err := sum.MultiExp(affine, weights, ecc.MultiExpConfig{NbTasks: 1}); err != nil {
			panic(fmt.Sprintf("keys: combine %d points with %d weights: %v", len(points), len(weights), err))
		}
	} else {
		for i := range points {
			if weights[i].IsOne() {
				sum.AddMixed(&points[i].point)
				continue
			}
			var term bls.G2Affine
			term.ScalarMultiplication(&points[i].point, bigInt(&weights[i]))
			sum.AddMixed(&term)
		}
	}
	var out PublicKey
	out.point.FromJacobian(&sum)
	return out
}
