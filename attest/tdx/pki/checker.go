package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"math/big"
	"time"

	"github.com/secretvm/secretvm/vm"
)

// Checker checks signatures and validity for one verdict: at one time, below
// one set of roots. It remembers which certificates it has verified, so that a
// CA which appears in several chains costs one signature, and until when
// everything that it accepted stays valid.
type Checker struct {
	Roots []*x509.Certificate
	At    time.Time
	until time.Time
	done  map[vm.Hash]bool
}

// NewChecker makes a Checker that accepts roots at the given time.
func NewChecker(roots []*x509.Certificate, at time.Time) *Checker {
	return &Checker{Roots: roots, At: at.UTC(), done: map[vm.Hash]bool{}}
}

// Until returns the earliest end of validity that was relied upon so far.
func (c *Checker) Until() time.Time { return c.until }

// Window refuses what is not valid at the Checker's time, both ends inclusive.
func (c *Checker) Window(what string, from, to time.Time) error {
	window := stamp(from) + " to " + stamp(to)
	switch {
	case c.At.Before(from):
		return vm.Refuse(vm.CodeExpired, "%s is not valid yet", what).On("time", stamp(c.At), window).
			Try("check the clock of whoever verifies, then fetch the collateral again")
	case c.At.After(to):
		return vm.Refuse(vm.CodeExpired, "%s has expired", what).On("time", stamp(c.At), window).
			Try("fetch fresh collateral: evidence older than its collateral proves nothing today")
	}
	if c.until.IsZero() || to.Before(c.until) {
		c.until = to.UTC()
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// Signed refuses a message whose signature r ‖ s (big-endian, 64 bytes) was not
// made by the key of cert, over its SHA-256.
func Signed(what string, message []byte, signature [64]byte, key *ecdsa.PublicKey) error {
	digest := sha256.Sum256(message)
	r := new(big.Int).SetBytes(signature[:32])
	s := new(big.Int).SetBytes(signature[32:])
	if !ecdsa.Verify(key, digest[:], r, s) {
		return vm.Refuse(vm.CodeSignature, "the signature of %s does not hold", what).
			Try("the bytes were changed after signing, or signed by another key: get the evidence again from its source")
	}
	return nil
}

// Key returns the public key of cert, which is on P-256.
func Key(cert *x509.Certificate) (*ecdsa.PublicKey, error) {
	key, ok := cert.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, vm.Refuse(vm.CodeMalformed, "certificate %q has no P-256 key", cert.Subject.CommonName)
	}
	return key, nil
}

// issued refuses unless the key of issuer signed the to-be-signed bytes.
func issued(what string, issuer *x509.Certificate, algorithm x509.SignatureAlgorithm, tbs, signature []byte) error {
	key, err := Key(issuer)
	if err != nil {
		return err
	}
	digest := sha256.Sum256(tbs)
	if algorithm != x509.ECDSAWithSHA256 || !ecdsa.VerifyASN1(key, digest[:], signature) {
		return vm.Refuse(vm.CodeSignature, "the signature of %s by %q does not hold", what, issuer.Subject.CommonName).
			Try("the bytes were changed after signing, or signed by another key: get the evidence again from its source")
	}
	return nil
}
