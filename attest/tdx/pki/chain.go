package pki

import (
	"bytes"
	"crypto/x509"
	"slices"

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
	if !c.valid(root) {
		return nil, c.Window("root certificate of "+what, root.NotBefore, root.NotAfter)
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
	name := func() string { return what + ": certificate " + cert.Subject.CommonName }
	if !c.valid(cert) {
		return c.Window(name(), cert.NotBefore, cert.NotAfter)
	}
	switch {
	case !bytes.Equal(cert.RawIssuer, parent.RawSubject):
		return vm.Refuse(vm.CodeChain, "%s was issued by %q, not by the next one, %q", name(), cert.Issuer.CommonName, parent.Subject.CommonName)
	case !parent.BasicConstraintsValid || !parent.IsCA || parent.KeyUsage&x509.KeyUsageCertSign == 0:
		return vm.Refuse(vm.CodeChain, "%s was issued by %q, which is no CA", name(), parent.Subject.CommonName)
	case (parent.MaxPathLen > 0 || parent.MaxPathLenZero) && below > parent.MaxPathLen:
		return vm.Refuse(vm.CodeChain, "%s lies deeper below %q than that CA allows", name(), parent.Subject.CommonName)
	}
	if _, err := Key(cert); err != nil {
		return err
	}
	// Certificates are read once, so equal ones have one address here. The
	// issuer is part of the memory: equal bytes below another key are not verified.
	this := link{parent, cert}
	if slices.Contains(c.memory.issued, this) {
		return nil
	}
	if !signedBy(parent, cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature) {
		return unsigned(name(), parent)
	}
	c.memory.issued = append(c.memory.issued, this)
	return nil
}

// valid is Window without the words of a refusal.
func (c *Checker) valid(cert *x509.Certificate) bool {
	return !c.At.Before(cert.NotBefore) && !c.At.After(cert.NotAfter) && c.Window("", cert.NotBefore, cert.NotAfter) == nil
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
