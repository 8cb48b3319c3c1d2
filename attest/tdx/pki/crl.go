package pki

import (
	"bytes"
	"crypto/x509"

	"github.com/secretvm/secretvm/vm"
)

// CRL reads a certificate revocation list in DER and refuses it unless it is
// valid now and signed by issuer, a certificate that was checked before.
func (c *Checker) CRL(what string, der []byte, issuer *x509.Certificate) (*x509.RevocationList, error) {
	if len(der) == 0 {
		return nil, vm.Refuse(vm.CodeCollateral, "%s is missing", what)
	}
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, vm.Refuse(vm.CodeMalformed, "%s: %v", what, err)
	}
	for _, ext := range list.Extensions {
		if ext.Critical {
			return nil, vm.Refuse(vm.CodeMalformed, "%s has an unknown critical extension %v", what, ext.Id)
		}
	}
	switch {
	case !bytes.Equal(list.RawIssuer, issuer.RawSubject):
		return nil, vm.Refuse(vm.CodeCollateral, "%s was issued by another CA", what).
			On("issuer", list.Issuer.CommonName, issuer.Subject.CommonName)
	case issuer.KeyUsage&x509.KeyUsageCRLSign == 0:
		return nil, vm.Refuse(vm.CodeChain, "%s: %q may not sign CRLs", what, issuer.Subject.CommonName)
	case list.NextUpdate.IsZero():
		return nil, vm.Refuse(vm.CodeMalformed, "%s does not say when it expires", what)
	}
	if err := c.Window(what, list.ThisUpdate, list.NextUpdate); err != nil {
		return nil, err
	}
	if err := issued(what, issuer, list.SignatureAlgorithm, list.RawTBSRevocationList, list.Signature); err != nil {
		return nil, err
	}
	return list, nil
}

// Revoked refuses cert if list, which its issuer signed, names it. An entry
// whose date lies in the future counts too: nobody plans a revocation of a
// sound key.
func Revoked(list *x509.RevocationList, cert *x509.Certificate) error {
	if !bytes.Equal(list.RawIssuer, cert.RawIssuer) {
		return vm.Refuse(vm.CodeCollateral, "the CRL of %q says nothing about a certificate of %q", list.Issuer.CommonName, cert.Issuer.CommonName)
	}
	for _, entry := range list.RevokedCertificateEntries {
		if entry.SerialNumber.Cmp(cert.SerialNumber) == 0 {
			return vm.Refuse(vm.CodeRevoked, "certificate %q has been revoked by its CA", cert.Subject.CommonName).
				On("serial number", cert.SerialNumber.Text(16), "one that is not on the CRL").
				Try("the platform's keys are considered compromised: it needs a TCB recovery and a new certificate")
		}
	}
	return nil
}
