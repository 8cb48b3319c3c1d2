package pki

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"

	"github.com/secretvm/secretvm/vm"
)

// Names of the certificates of this PKI, by common name. The organisation
// tells Intel's from a development PKI; the root decides which one is trusted.
const (
	NameRoot        = "Intel SGX Root CA"
	NamePlatformCA  = "Intel SGX PCK Platform CA"
	NameProcessorCA = "Intel SGX PCK Processor CA"
	NamePCK         = "Intel SGX PCK Certificate"
	NameTCBSigner   = "Intel SGX TCB Signing"
)

// maxChain bounds the certificates of a chain: PCK, CA, root.
const maxChain = 3

// ParsePEM reads a bundle of one to three certificates. Between and behind
// them there may be white space and NUL bytes only: Intel's libraries
// terminate the string.
func ParsePEM(what string, b []byte) ([]*x509.Certificate, error) {
	const blank = " \t\r\n\x00"
	var certs []*x509.Certificate
	for b = bytes.Trim(b, blank); len(b) > 0; b = bytes.TrimLeft(b, blank) {
		if len(certs) == maxChain {
			return nil, vm.Refuse(vm.CodeTooLarge, "%s has more than %d certificates", what, maxChain)
		}
		block, rest := pem.Decode(b)
		// Decode skips what it does not understand; here that is an error.
		if block == nil || block.Type != "CERTIFICATE" || len(block.Headers) > 0 || !bytes.HasPrefix(b, []byte("-----BEGIN CERTIFICATE-----")) {
			return nil, vm.Refuse(vm.CodeMalformed, "%s is not a plain PEM bundle of certificates", what)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, vm.Refuse(vm.CodeMalformed, "certificate %d of %s: %v", len(certs)+1, what, err)
		}
		if len(cert.UnhandledCriticalExtensions) > 0 {
			return nil, vm.Refuse(vm.CodeMalformed, "certificate %d of %s has an unknown critical extension %v", len(certs)+1, what, cert.UnhandledCriticalExtensions[0])
		}
		certs = append(certs, cert)
		b = rest
	}
	if len(certs) == 0 {
		return nil, vm.Refuse(vm.CodeMalformed, "%s holds no certificate", what)
	}
	return certs, nil
}

// Chain checks a chain that is given leaf first and root last: each
// certificate valid now, signed by the next, and the last one a trusted root.
// It returns that root. Revocation is not looked at (Revoked).
func (c *Checker) Chain(what string, certs []*x509.Certificate) (*x509.Certificate, error) {
	if len(certs) < 2 {
		return nil, vm.Refuse(vm.CodeChain, "%s has no issuer", what)
	}
	root, err := c.anchor(what, certs[len(certs)-1])
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
	return root, nil
}

// anchor finds the trusted root that the bundle's last certificate claims to
// be. Subject and key decide, not the bytes: Intel has reissued its root with
// another expiry, and the trusted copy is the one that is then used.
func (c *Checker) anchor(what string, last *x509.Certificate) (*x509.Certificate, error) {
	for _, root := range c.Roots {
		if bytes.Equal(root.RawSubject, last.RawSubject) && bytes.Equal(root.RawSubjectPublicKeyInfo, last.RawSubjectPublicKeyInfo) {
			return root, nil
		}
	}
	r := vm.Refuse(vm.CodeChain, "%s ends in a root that is not trusted", what)
	var wanted string
	for i, root := range c.Roots {
		if i > 0 {
			wanted += " or "
		}
		wanted += describe(root)
	}
	return nil, r.On("root", describe(last), wanted).
		Try("evidence of a soft TEE is accepted only when its root is named explicitly (--trust-root)")
}

func describe(cert *x509.Certificate) string {
	organisation := ""
	if len(cert.Subject.Organization) > 0 {
		organisation = cert.Subject.Organization[0] + ", "
	}
	return cert.Subject.CommonName + " (" + organisation + "key sha256:" + vm.HashOf(cert.RawSubjectPublicKeyInfo).String()[:16] + "…)"
}

// link checks that parent issued cert, which has below certificates under it.
func (c *Checker) link(what string, cert, parent *x509.Certificate, below int) error {
	name := what + ": certificate " + cert.Subject.CommonName
	if err := c.Window(name, cert.NotBefore, cert.NotAfter); err != nil {
		return err
	}
	switch {
	case !bytes.Equal(cert.RawIssuer, parent.RawSubject):
		return vm.Refuse(vm.CodeChain, "%s was issued by %q, not by the next one, %q", name, cert.Issuer.CommonName, parent.Subject.CommonName)
	case !parent.BasicConstraintsValid || !parent.IsCA || parent.KeyUsage&x509.KeyUsageCertSign == 0:
		return vm.Refuse(vm.CodeChain, "%s was issued by %q, which is no CA", name, parent.Subject.CommonName)
	case (parent.MaxPathLen > 0 || parent.MaxPathLenZero) && below > parent.MaxPathLen:
		return vm.Refuse(vm.CodeChain, "%s lies deeper below %q than that CA allows", name, parent.Subject.CommonName)
	}
	if _, err := Key(cert); err != nil {
		return err
	}
	// The issuer is part of the memory: equal bytes under another key are not verified.
	seen := vm.HashOf(append(append([]byte{}, parent.RawSubjectPublicKeyInfo...), cert.Raw...))
	if c.done[seen] {
		return nil
	}
	if err := issued(name, parent, cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature); err != nil {
		return err
	}
	c.done[seen] = true
	return nil
}

// Named refuses a certificate whose common name is none of names: a genuine
// certificate of this PKI used for another purpose than its own.
func Named(what string, cert *x509.Certificate, names ...string) error {
	wanted := ""
	for i, name := range names {
		if cert.Subject.CommonName == name {
			return nil
		}
		if i > 0 {
			wanted += " or "
		}
		wanted += name
	}
	return vm.Refuse(vm.CodeChain, "%s is another kind of certificate", what).On("common name", cert.Subject.CommonName, wanted)
}
