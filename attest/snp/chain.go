package snp

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"

	"github.com/secretvm/secretvm/attest/tdx/pki"
	"github.com/secretvm/secretvm/vm"
)

// Endorsement is an endorsement key that AMD vouches for.
type Endorsement struct {
	Key  Key
	Root *x509.Certificate // the trusted ARK
}

// bits is the size of every RSA key of AMD's.
const bits = 4096

// Open checks the certificates beside a report, at the Checker's time and
// below its roots: the endorsement key's (DER), its issuer and root (PEM; the
// built-in ones where the bundle is empty) and, unless noCRL, the root's
// revocation list.
func Open(check *pki.Checker, c *vm.AMDCollateral, noCRL bool) (e Endorsement, err error) {
	if c == nil || len(c.EndorsementKey) == 0 {
		return e, vm.Refuse(vm.CodeCollateral, "the report comes without the certificate of the key that signed it").
			Try("add the chip's VCEK (or the provider's VLEK) certificate, which AMD's key distribution service has")
	}
	cert, err := x509.ParseCertificate(c.EndorsementKey)
	if err != nil {
		return e, vm.Refuse(vm.CodeMalformed, "certificate of the endorsement key: %v", err)
	}
	if len(cert.UnhandledCriticalExtensions) > 0 {
		return e, vm.Refuse(vm.CodeMalformed, "certificate of the endorsement key has an unknown critical extension %v", cert.UnhandledCriticalExtensions[0])
	}
	if e.Key, err = ParseKey(cert); err != nil {
		return e, err
	}
	ca, err := findIssuers(check, c.Chain, cert)
	if err != nil {
		return e, err
	}
	e.Root = ca.root
	if err := ca.named(e.Key); err != nil {
		return e, err
	}
	if err := ca.signed(check, cert); err != nil {
		return e, err
	}
	if noCRL && len(c.CRL) == 0 {
		return e, nil
	}
	return e, checkCRL(check, c.CRL, ca)
}

// issuers are the certificates above an endorsement key.
type issuers struct {
	intermediate *x509.Certificate // ASK or ASVK
	root         *x509.Certificate // ARK, trusted
}

// findIssuers takes the intermediate from the bundle, or from those built in,
// and the root from those that are trusted.
func findIssuers(check *pki.Checker, bundle []byte, cert *x509.Certificate) (ca issuers, err error) {
	const what = "chain of the endorsement key"
	var claimed *x509.Certificate
	if len(bundle) == 0 {
		for _, known := range Intermediates() {
			if bytes.Equal(known.RawSubject, cert.RawIssuer) {
				ca.intermediate = known
			}
		}
		if ca.intermediate == nil {
			return ca, vm.Refuse(vm.CodeCollateral, "%s is missing, and its issuer %q is not one that is built in", what, cert.Issuer.CommonName)
		}
	} else {
		certs, err := check.Certificates(what, bundle)
		if err != nil {
			return ca, err
		}
		if len(certs) > 2 {
			return ca, vm.Refuse(vm.CodeMalformed, "%s has %d certificates, want the issuer (ASK or ASVK) and the root (ARK)", what, len(certs))
		}
		ca.intermediate = certs[0]
		if len(certs) == 2 {
			claimed = certs[1]
		}
	}
	for _, root := range check.Roots {
		if !bytes.Equal(root.RawSubject, ca.intermediate.RawIssuer) {
			continue
		}
		if claimed == nil || bytes.Equal(claimed.RawSubject, root.RawSubject) && bytes.Equal(claimed.RawSubjectPublicKeyInfo, root.RawSubjectPublicKeyInfo) {
			ca.root = root
			return ca, nil
		}
	}
	found := ca.intermediate.Issuer.CommonName
	if claimed != nil {
		found = claimed.Subject.CommonName + " (key sha256:" + vm.HashOf(claimed.RawSubjectPublicKeyInfo).String()[:16] + "…)"
	}
	return ca, vm.Refuse(vm.CodeChain, "%s ends in a root that is not trusted", what).On("root", found, names(check.Roots))
}

func names(certs []*x509.Certificate) string {
	var b bytes.Buffer
	for i, cert := range certs {
		if i > 0 {
			b.WriteString(" or ")
		}
		b.WriteString(cert.Subject.CommonName + " (key sha256:" + vm.HashOf(cert.RawSubjectPublicKeyInfo).String()[:16] + "…)")
	}
	return b.String()
}

// named refuses chains of another product or purpose than the key's: AMD has
// one root and two issuers for each product line.
func (ca issuers) named(k Key) error {
	want := "SEV-" + string(k.Line)
	if k.Signer == VLEK {
		want = "SEV-VLEK-" + string(k.Line)
	}
	if found := ca.intermediate.Subject.CommonName; found != want {
		return vm.Refuse(vm.CodeChain, "the %s of %s was issued by the CA of something else", k.Signer, k.Line).On("issuer", found, want)
	}
	if found, want := ca.root.Subject.CommonName, "ARK-"+string(k.Line); found != want {
		return vm.Refuse(vm.CodeChain, "the %s of %s lies below the root of something else", k.Signer, k.Line).On("root", found, want)
	}
	return nil
}

// signed checks validity and signatures, from the root down.
func (ca issuers) signed(check *pki.Checker, cert *x509.Certificate) error {
	if err := window(check, ca.root); err != nil {
		return err
	}
	if !ca.builtIn() {
		if err := issued(check, ca.intermediate, ca.root); err != nil {
			return err
		}
	} else if err := window(check, ca.intermediate); err != nil {
		return err
	}
	return issued(check, cert, ca.intermediate)
}

// builtIn reports whether root and issuer are a pair of AMD's that is built
// in, whose signature a test has checked: it need not be checked again.
func (ca issuers) builtIn() bool {
	for i, known := range Intermediates() {
		if bytes.Equal(known.Raw, ca.intermediate.Raw) {
			return bytes.Equal(Roots()[i%len(Roots())].Raw, ca.root.Raw)
		}
	}
	return false
}

func window(check *pki.Checker, cert *x509.Certificate) error {
	return check.Window("certificate "+cert.Subject.CommonName, cert.NotBefore, cert.NotAfter)
}

// issued refuses unless parent issued cert.
func issued(check *pki.Checker, cert, parent *x509.Certificate) error {
	name := cert.Subject.CommonName
	if err := window(check, cert); err != nil {
		return err
	}
	switch {
	case !bytes.Equal(cert.RawIssuer, parent.RawSubject):
		return vm.Refuse(vm.CodeChain, "certificate %q was issued by %q, not by %q", name, cert.Issuer.CommonName, parent.Subject.CommonName)
	case !parent.BasicConstraintsValid || !parent.IsCA || parent.KeyUsage&x509.KeyUsageCertSign == 0:
		return vm.Refuse(vm.CodeChain, "certificate %q was issued by %q, which is no CA", name, parent.Subject.CommonName)
	case cert.IsCA && parent.MaxPathLenZero:
		return vm.Refuse(vm.CodeChain, "certificate %q is a CA below %q, which allows none", name, parent.Subject.CommonName)
	}
	return signedBy("certificate "+name, parent, cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature)
}

// signedBy refuses unless the key of parent signed message in the one way of
// this PKI.
func signedBy(what string, parent *x509.Certificate, algorithm x509.SignatureAlgorithm, message, signature []byte) error {
	key, ok := parent.PublicKey.(*rsa.PublicKey)
	switch {
	case !ok || key.N.BitLen() != bits:
		return vm.Refuse(vm.CodeMalformed, "certificate %q has no RSA key of %d bits", parent.Subject.CommonName, bits)
	case algorithm != x509.SHA384WithRSAPSS:
		return vm.Refuse(vm.CodeMalformed, "%s is not signed with RSA-PSS and SHA-384", what).On("algorithm", algorithm.String(), x509.SHA384WithRSAPSS.String())
	}
	if parent.CheckSignature(algorithm, message, signature) != nil {
		return vm.Refuse(vm.CodeSignature, "the signature of %s by %q does not hold", what, parent.Subject.CommonName).
			Try("the bytes were changed after signing, or signed by another key: get the certificates again from AMD's key distribution service")
	}
	return nil
}
