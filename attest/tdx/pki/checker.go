package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"time"

	"github.com/secretvm/secretvm/vm"
)

// Checker checks signatures and validity for one verdict: at one time, below
// one set of roots. It remembers which certificates it has read and verified,
// so that a CA which appears in several chains costs one signature, and for
// how long everything that it accepted is valid.
type Checker struct {
	Roots []*x509.Certificate
	At    time.Time

	// Stale accepts collateral for so long after its nextUpdate.
	Stale time.Duration

	from, until, fresh time.Time
	memory             *memory
}

// memory is what several Checkers of one verdict share: facts that depend
// neither on time nor on roots.
type memory struct {
	certs  []seen
	issued []link
}

// seen is one certificate, by the PEM text that it was read from.
type seen struct {
	text []byte
	cert *x509.Certificate
}

// link says that the key of issuer signed cert.
type link struct{ issuer, cert *x509.Certificate }

// NewChecker makes a Checker that accepts roots at the given time.
func NewChecker(roots []*x509.Certificate, at time.Time) *Checker {
	return &Checker{Roots: roots, At: at.UTC(), memory: &memory{}}
}

// Below returns a Checker of the same time that accepts one root only and has
// accepted nothing yet.
func (c *Checker) Below(root *x509.Certificate) *Checker {
	return &Checker{Roots: []*x509.Certificate{root}, At: c.At, Stale: c.Stale, memory: c.memory}
}

// From returns the latest beginning of validity that was relied upon so far.
func (c *Checker) From() time.Time { return c.from }

// Until returns the earliest end of validity that was relied upon so far,
// later by Stale where that is about collateral.
func (c *Checker) Until() time.Time { return c.until }

// Fresh returns the earliest nextUpdate of collateral that was relied upon so
// far, and zero if there was none.
func (c *Checker) Fresh() time.Time { return c.fresh }

// Window refuses what is not valid at the Checker's time, both ends inclusive.
func (c *Checker) Window(what string, from, to time.Time) error {
	switch {
	case c.At.Before(from):
		return vm.Refuse(vm.CodeExpired, "%s is not valid yet", what).On("time", stamp(c.At), stamp(from)+" to "+stamp(to)).
			Try("check the clock of whoever verifies, then fetch the collateral again")
	case c.At.After(to):
		return vm.Refuse(vm.CodeExpired, "%s has expired", what).On("time", stamp(c.At), stamp(from)+" to "+stamp(to)).
			Try("fetch fresh collateral: evidence older than its collateral proves nothing today")
	}
	if c.from.IsZero() || from.After(c.from) {
		c.from = from.UTC()
	}
	if c.until.IsZero() || to.Before(c.until) {
		c.until = to.UTC()
	}
	return nil
}

// Current is Window for collateral, which may be late by Stale.
func (c *Checker) Current(what string, from, to time.Time) error {
	if to.Before(from) {
		return vm.Refuse(vm.CodeMalformed, "%s ends before it begins", what).On("nextUpdate", stamp(to), "after "+stamp(from))
	}
	if err := c.Window(what, from, to.Add(c.Stale)); err != nil {
		return err
	}
	if c.fresh.IsZero() || to.Before(c.fresh) {
		c.fresh = to.UTC()
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// Signed refuses a message whose signature r ‖ s (big-endian, 64 bytes) was not
// made by the key of cert, over its SHA-256.
func Signed(what string, message []byte, signature [64]byte, key *ecdsa.PublicKey) error {
	digest := sha256.Sum256(message)
	var buffer [maxSignature]byte
	if !ecdsa.VerifyASN1(key, digest[:], encodeSignature(buffer[:0], signature)) {
		return vm.Refuse(vm.CodeSignature, "the signature of %s does not hold", what).
			Try("the bytes were changed after signing, or signed by another key: get the evidence again from its source")
	}
	return nil
}

// maxSignature is the size of the longest ECDSA-Sig-Value of P-256.
const maxSignature = 2 + 2*(2+33)

// encodeSignature appends the ECDSA-Sig-Value of r ‖ s to b, which is empty.
func encodeSignature(b []byte, signature [64]byte) []byte {
	b = append(b, tagSequence, 0)
	for _, n := range [][]byte{signature[:32], signature[32:]} {
		for len(n) > 1 && n[0] == 0 {
			n = n[1:]
		}
		pad := n[0] >> 7 // a leading zero keeps it positive
		b = append(b, tagInteger, byte(len(n))+pad)
		b = append(append(b, 0)[:len(b)+int(pad)], n...)
	}
	b[1] = byte(len(b) - 2)
	return b
}

// Key returns the public key of cert, which is on P-256.
func Key(cert *x509.Certificate) (*ecdsa.PublicKey, error) {
	key, ok := cert.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, vm.Refuse(vm.CodeMalformed, "certificate %q has no P-256 key", cert.Subject.CommonName)
	}
	return key, nil
}

// signedBy reports whether the key of issuer signed the to-be-signed bytes with
// the one algorithm of this PKI.
func signedBy(issuer *x509.Certificate, algorithm x509.SignatureAlgorithm, tbs, signature []byte) bool {
	key, ok := issuer.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() || algorithm != x509.ECDSAWithSHA256 {
		return false
	}
	digest := sha256.Sum256(tbs)
	return ecdsa.VerifyASN1(key, digest[:], signature)
}

func unsigned(what string, issuer *x509.Certificate) error {
	return vm.Refuse(vm.CodeSignature, "the signature of %s by %q does not hold", what, issuer.Subject.CommonName).
		Try("the bytes were changed after signing, or signed by another key: get the evidence again from its source")
}
