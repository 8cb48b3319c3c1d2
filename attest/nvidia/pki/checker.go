package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"math/big"
	"slices"
	"time"

	"github.com/secretvm/secretvm/vm"
)

// Memory remembers which signatures were found to hold, by a hash of key,
// message and signature. They do not age; validity is checked each time.
type Memory interface {
	Known(vm.Hash) bool
	Learn(vm.Hash)
}

// Checker checks signatures and validity for one verdict, at one time. It
// remembers which signatures it has verified, and until when everything that it
// accepted stays valid.
type Checker struct {
	At     time.Time
	Memory Memory // or nil
	until  time.Time
	done   map[vm.Hash]bool
}

// NewChecker makes a Checker for the given time.
func NewChecker(at time.Time) *Checker {
	return &Checker{At: at.UTC(), done: map[vm.Hash]bool{}}
}

// Until returns the earliest end of validity that was relied upon so far.
func (c *Checker) Until() time.Time { return c.until }

// Window refuses what is not valid at the Checker's time, both ends inclusive.
func (c *Checker) Window(what string, from, to time.Time) error {
	window := stamp(from) + " to " + stamp(to)
	switch {
	case c.At.Before(from):
		return vm.Refuse(vm.CodeExpired, "%s is not valid yet", what).On("time", stamp(c.At), window).
			Try("check the clock of whoever verifies")
	case c.At.After(to):
		return vm.Refuse(vm.CodeExpired, "%s has expired", what).On("time", stamp(c.At), window).
			Try("fetch it again: NVIDIA signs reference documents and revocation answers anew before they expire")
	}
	if c.until.IsZero() || to.Before(c.until) {
		c.until = to.UTC()
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// Key returns the public key of cert, which is on P-384.
func Key(cert *x509.Certificate) (*ecdsa.PublicKey, error) {
	key, ok := cert.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P384() {
		return nil, vm.Refuse(vm.CodeMalformed, "certificate %q has no P-384 key", cert.Subject.CommonName)
	}
	return key, nil
}

// Signed refuses a message whose signature r ‖ s (big-endian, 96 bytes) was not
// made by a P-384 key over its SHA-384.
func Signed(what string, message, signature []byte, key *ecdsa.PublicKey) error {
	digest := sha512.Sum384(message)
	if len(signature) != 96 || !ecdsa.Verify(key, digest[:], new(big.Int).SetBytes(signature[:48]), new(big.Int).SetBytes(signature[48:])) {
		return badSignature(what)
	}
	return nil
}

// SignedASN1 is Signed for a signature in ASN.1 by the key of cert: ECDSA-SHA384
// on P-384, or ECDSA-SHA256 on P-256.
func (c *Checker) SignedASN1(what string, cert *x509.Certificate, algorithm x509.SignatureAlgorithm, message, signature []byte) error {
	key, ok := cert.PublicKey.(*ecdsa.PublicKey)
	if !ok {
		return badSignature(what)
	}
	var digest []byte
	switch {
	case algorithm == x509.ECDSAWithSHA384 && key.Curve == elliptic.P384():
		sum := sha512.Sum384(message)
		digest = sum[:]
	case algorithm == x509.ECDSAWithSHA256 && key.Curve == elliptic.P256():
		sum := sha256.Sum256(message)
		digest = sum[:]
	}
	if digest == nil || !c.once(cert.RawSubjectPublicKeyInfo, digest, signature, func() bool { return ecdsa.VerifyASN1(key, digest, signature) }) {
		return badSignature(what)
	}
	return nil
}

// SignedOnce is Signed by the key of cert, for messages that come again.
func (c *Checker) SignedOnce(what string, message, signature []byte, cert *x509.Certificate) error {
	key, err := Key(cert)
	if err != nil {
		return err
	}
	digest := sha512.Sum384(message)
	if !c.once(cert.RawSubjectPublicKeyInfo, digest[:], signature, func() bool { return Signed(what, message, signature, key) == nil }) {
		return badSignature(what)
	}
	return nil
}

// once reports whether a signature holds, and asks only the first time. All
// devices of a machine share their CAs, and machines their documents.
func (c *Checker) once(key, digest, signature []byte, holds func() bool) bool {
	// Sizes keep the parts apart: keys of either curve have one length each.
	seen := vm.HashOf(slices.Concat([]byte{byte(len(key)), byte(len(digest))}, key, digest, signature))
	if c.done[seen] || c.Memory != nil && c.Memory.Known(seen) {
		return true
	}
	if !holds() {
		return false
	}
	c.done[seen] = true
	if c.Memory != nil {
		c.Memory.Learn(seen)
	}
	return true
}

// issued refuses cert unless the key of parent signed it.
func (c *Checker) issued(what string, cert, parent *x509.Certificate) error {
	return c.SignedASN1(what+" by "+parent.Subject.CommonName, parent, cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature)
}

// Issued refuses cert unless parent issued it and it is valid now: the check of
// a certificate that stands beside a chain, such as a revocation responder's.
func (c *Checker) Issued(what string, cert, parent *x509.Certificate) error {
	if err := c.Window(what, cert.NotBefore, cert.NotAfter); err != nil {
		return err
	}
	return c.issued(what, cert, parent)
}

func badSignature(what string) error {
	return vm.Refuse(vm.CodeSignature, "the signature of %s does not hold", what).
		Try("the bytes were changed after signing, or signed by another key: get the evidence again from its source")
}
