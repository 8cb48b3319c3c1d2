package snp

import (
	"bytes"
	"crypto/x509"
	"time"

	"github.com/secretvm/secretvm/attest/tdx/pki"
	"github.com/secretvm/secretvm/vm"
)

// checkCRL refuses unless the root says, in a list that is valid now, that the
// issuer was not revoked. AMD revokes issuers only: endorsement keys are
// replaced by raising the TCB.
func checkCRL(check *pki.Checker, der []byte, ca issuers) error {
	what := "revocation list of " + ca.root.Subject.CommonName
	if len(der) == 0 {
		return vm.Refuse(vm.CodeCollateral, "%s is missing", what).
			Try("without it nobody knows whether AMD still stands by the issuer: fetch it from AMD's key distribution service")
	}
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return vm.Refuse(vm.CodeMalformed, "%s: %v", what, err)
	}
	for _, ext := range list.Extensions {
		if ext.Critical {
			return vm.Refuse(vm.CodeMalformed, "%s has an unknown critical extension %v", what, ext.Id)
		}
	}
	switch {
	case !bytes.Equal(list.RawIssuer, ca.root.RawSubject):
		return vm.Refuse(vm.CodeCollateral, "%s was issued by another CA", what).On("issuer", list.Issuer.CommonName, ca.root.Subject.CommonName)
	case ca.root.KeyUsage&x509.KeyUsageCRLSign == 0:
		return vm.Refuse(vm.CodeChain, "%s: %q may not sign such lists", what, ca.root.Subject.CommonName)
	case list.NextUpdate.IsZero():
		return vm.Refuse(vm.CodeMalformed, "%s does not say when it expires", what)
	}
	if err := signedBy(what, ca.root, list.SignatureAlgorithm, list.RawTBSRevocationList, list.Signature); err != nil {
		return err
	}
	if err := check.Current(what, list.ThisUpdate, list.NextUpdate); err != nil {
		return err
	}
	for _, entry := range list.RevokedCertificateEntries {
		if entry.SerialNumber.Cmp(ca.intermediate.SerialNumber) == 0 {
			return vm.Refuse(vm.CodeRevoked, "certificate %q has been revoked by AMD", ca.intermediate.Subject.CommonName).
				On("serial number", entry.SerialNumber.Text(16), "one that is not on the list, revoked "+entry.RevocationTime.UTC().Format(time.RFC3339))
		}
	}
	return nil
}
