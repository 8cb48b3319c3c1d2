package pki

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"

	"github.com/secretvm/secretvm/vm"
)

// maxCertificate bounds a certificate, in bytes, and so what of it ends up in
// refusals. NVIDIA's have less than one thousand.
const maxCertificate = 4 << 10

// maxChain bounds the certificates of a chain. A device has five: its
// attestation key, its boot ROM, two intermediate CAs, the root.
const maxChain = 8

// ParsePEM reads certificates, leaf first, with white space and NULs between
// and behind them.
func ParsePEM(what string, b []byte) ([]*x509.Certificate, error) {
	const blank = " \t\r\n\x00"
	var certs []*x509.Certificate
	for b = bytes.Trim(b, blank); len(b) > 0; b = bytes.TrimLeft(b, blank) {
		block, rest := pem.Decode(b)
		// Decode skips what it does not understand; here that is an error.
		if block == nil || block.Type != "CERTIFICATE" || len(block.Headers) > 0 || !bytes.HasPrefix(b, []byte("-----BEGIN CERTIFICATE-----")) {
			return nil, vm.Refuse(vm.CodeMalformed, "%s is not a plain PEM bundle of certificates", what)
		}
		cert, err := Parse(what, block.Bytes)
		if err != nil {
			return nil, err
		}
		if certs = append(certs, cert); len(certs) > maxChain {
			return nil, vm.Refuse(vm.CodeTooLarge, "%s has more than %d certificates", what, maxChain)
		}
		b = rest
	}
	if len(certs) == 0 {
		return nil, vm.Refuse(vm.CodeMalformed, "%s holds no certificate", what)
	}
	return certs, nil
}

// Parse reads one certificate in DER.
func Parse(what string, der []byte) (*x509.Certificate, error) {
	if len(der) > maxCertificate {
		return nil, vm.Refuse(vm.CodeTooLarge, "a certificate of %s has %d bytes, want at most %d", what, len(der), maxCertificate)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, vm.Refuse(vm.CodeMalformed, "a certificate of %s: %v", what, err)
	}
	if len(cert.UnhandledCriticalExtensions) > 0 {
		return nil, vm.Refuse(vm.CodeMalformed, "certificate %q of %s has an unknown critical extension %v",
			cert.Subject.CommonName, what, cert.UnhandledCriticalExtensions[0])
	}
	return cert, nil
}

// Chain checks a chain that is given leaf first and root last: each
// certificate valid now, signed by the next, on P-384, and the last one of
// roots, whose copy it returns. Revocation is not looked at.
func (c *Checker) Chain(what string, certs, roots []*x509.Certificate) (*x509.Certificate, error) {
	if len(certs) < 2 {
		return nil, vm.Refuse(vm.CodeChain, "%s has no issuer", what).
			On("certificates", "1", "the device's first, the root last")
	}
	root, err := anchor(what, certs[len(certs)-1], roots)
	if err != nil {
		return nil, err
	}
	if err := c.Window("root certificate of "+what, root.NotBefore, root.NotAfter); err != nil {
		return nil, err
	}
	parent := root
	for i := len(certs) - 2; i >= 0; i-- {
		if err := c.link(what, certs[i], parent, i); err != nil {
			return nil, err
		}
		parent = certs[i]
	}
	if certs[0].KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return nil, vm.Refuse(vm.CodeChain, "%s: %q may not sign evidence", what, certs[0].Subject.CommonName)
	}
	return root, nil
}

// anchor finds the trusted root that the last certificate claims to be, by
// subject and key.
func anchor(what string, last *x509.Certificate, roots []*x509.Certificate) (*x509.Certificate, error) {
	wanted := ""
	for i, root := range roots {
		if bytes.Equal(root.RawSubject, last.RawSubject) && bytes.Equal(root.RawSubjectPublicKeyInfo, last.RawSubjectPublicKeyInfo) {
			return root, nil
		}
		if i > 0 {
			wanted += " or "
		}
		wanted += describe(root)
	}
	return nil, vm.Refuse(vm.CodeChain, "%s ends in a root that is not trusted", what).On("root", describe(last), wanted).
		Try("the chain must be complete, leaf first and root last; other roots than NVIDIA's are trusted only when named (--trust-root)")
}

func describe(cert *x509.Certificate) string {
	return cert.Subject.CommonName + " (key sha256:" + vm.HashOf(cert.RawSubjectPublicKeyInfo).String()[:16] + "…)"
}

// link checks that parent issued cert, which has below certificates under it.
func (c *Checker) link(what string, cert, parent *x509.Certificate, below int) error {
	name := what + ": certificate " + cert.Subject.CommonName
	if err := c.Window(name, cert.NotBefore, cert.NotAfter); err != nil {
		return err
	}
	switch {
	case !bytes.Equal(cert.RawIssuer, parent.RawSubject):
		return vm.Refuse(vm.CodeChain, "%s was issued by %q, not by the next one, %q", name, cert.Issuer.CommonName, parent.Subject.CommonName).
			Try("the chain must be complete and in order")
	case !parent.BasicConstraintsValid || !parent.IsCA || parent.KeyUsage&x509.KeyUsageCertSign == 0:
		return vm.Refuse(vm.CodeChain, "%s was issued by %q, which is no CA", name, parent.Subject.CommonName)
	case (parent.MaxPathLen > 0 || parent.MaxPathLenZero) && below > parent.MaxPathLen:
		return vm.Refuse(vm.CodeChain, "%s lies deeper below %q than that CA allows", name, parent.Subject.CommonName)
	}
	if _, err := Key(cert); err != nil {
		return err
	}
	return c.issued(name, cert, parent)
}
