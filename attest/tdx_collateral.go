package attest

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"strings"
	"time"

	"github.com/secretvm/secretvm/attest/tdx/collateral"
	"github.com/secretvm/secretvm/attest/tdx/pki"
	"github.com/secretvm/secretvm/vm"
)

// said is what Intel signed about a platform, after every signature and date
// has been checked.
type said struct {
	tcb collateral.TCBInfo
	qe  collateral.QEIdentity
}

// openCollateral checks the collateral's signatures, validity and
// revocations, and that it speaks about this platform.
func openCollateral(check *pki.Checker, c *vm.Collateral, p platform) (s said, err error) {
	if c == nil {
		return s, vm.Refuse(vm.CodeCollateral, "evidence comes without collateral").
			Try("a quote alone proves neither that its platform is current nor that it was not revoked: add Intel's collateral for FMSPC " +
				collateral.Hex(p.sgx.FMSPC[:]).String())
	}
	revoked, err := check.CRL("CRL of the root CA", c.RootCACRL, p.root)
	if err != nil {
		return s, err
	}
	if err := checkRevocation(check, c, p, revoked); err != nil {
		return s, err
	}
	inner, err := openSigned(check, "TCB info", collateral.KeyTCBInfo, c.TCBInfo, c.TCBInfoChain, revoked)
	if err != nil {
		return s, err
	}
	if s.tcb, err = collateral.ParseTCBInfo(inner); err != nil {
		return s, err
	}
	inner, err = openSigned(check, "QE identity", collateral.KeyQEIdentity, c.QEIdentity, c.QEIdentityChain, revoked)
	if err != nil {
		return s, err
	}
	if s.qe, err = collateral.ParseQEIdentity(inner); err != nil {
		return s, err
	}
	return s, s.fits(check, p)
}

// checkRevocation refuses a PCK certificate or a CA that has been revoked.
func checkRevocation(check *pki.Checker, c *vm.Collateral, p platform, revokedByRoot *x509.RevocationList) error {
	if err := pki.Revoked(revokedByRoot, p.ca); err != nil {
		return err
	}
	if len(c.PCKCRLChain) == 0 {
		return missing("issuer chain of the PCK CRL")
	}
	certs, err := pki.ParsePEM("issuer chain of the PCK CRL", c.PCKCRLChain)
	if err != nil {
		return err
	}
	if len(certs) != 2 || !bytes.Equal(certs[0].Raw, p.ca.Raw) {
		return vm.Refuse(vm.CodeCollateral, "the PCK CRL comes from another CA than the PCK certificate").
			On("issuer", certs[0].Subject.CommonName, p.ca.Subject.CommonName)
	}
	if _, err := check.Chain("issuer chain of the PCK CRL", certs); err != nil {
		return err
	}
	list, err := check.CRL("CRL of the PCK CA", c.PCKCRL, p.ca)
	if err != nil {
		return err
	}
	return pki.Revoked(list, p.pck)
}

// openSigned returns the signed bytes of an envelope whose signer is a TCB
// signing certificate below the root, not revoked.
func openSigned(check *pki.Checker, what, key string, envelope, chain []byte, revoked *x509.RevocationList) ([]byte, error) {
	inner, signature, err := collateral.Open(key, envelope)
	if err != nil {
		return nil, err
	}
	if len(chain) == 0 {
		return nil, missing("issuer chain of the " + what)
	}
	certs, err := pki.ParsePEM("issuer chain of the "+what, chain)
	if err != nil {
		return nil, err
	}
	if len(certs) != 2 {
		return nil, vm.Refuse(vm.CodeMalformed, "issuer chain of the %s has %d certificates, want 2: signer, root", what, len(certs))
	}
	if _, err := check.Chain("issuer chain of the "+what, certs); err != nil {
		return nil, err
	}
	signer := certs[0]
	if err := pki.Named("signer of the "+what, signer, pki.NameTCBSigner); err != nil {
		return nil, err
	}
	if err := pki.Revoked(revoked, signer); err != nil {
		return nil, err
	}
	public, err := pki.Key(signer)
	if err != nil {
		return nil, err
	}
	return inner, pki.Signed("the "+what, inner, signature, public)
}

// fits refuses genuine collateral of another day or another platform.
func (s said) fits(check *pki.Checker, p platform) error {
	for _, part := range []struct {
		what     string
		from, to time.Time
	}{
		{"TCB info", s.tcb.IssueDate, s.tcb.NextUpdate},
		{"QE identity", s.qe.IssueDate, s.qe.NextUpdate},
	} {
		if err := check.Window(part.what, part.from, part.to); err != nil {
			return err
		}
	}
	fmspc, pceID := collateral.Hex(p.sgx.FMSPC[:]), collateral.Hex(p.sgx.PCEID[:])
	switch {
	case !bytes.Equal(s.tcb.FMSPC, fmspc):
		return vm.Refuse(vm.CodeCollateral, "the TCB info is about another kind of platform").
			On("FMSPC", s.tcb.FMSPC.String(), fmspc.String()).Try("fetch the TCB info for FMSPC " + strings.ToLower(fmspc.String()))
	case !bytes.Equal(s.tcb.PCEID, pceID):
		return vm.Refuse(vm.CodeCollateral, "the TCB info is about another provisioning enclave").
			On("PCEID", s.tcb.PCEID.String(), pceID.String())
	case s.tcb.TCBEvaluationDataNumber != s.qe.TCBEvaluationDataNumber:
		return vm.Refuse(vm.CodeCollateral, "TCB info and QE identity are from different evaluations").
			On("tcbEvaluationDataNumber", fmt.Sprint(s.qe.TCBEvaluationDataNumber), fmt.Sprint(s.tcb.TCBEvaluationDataNumber)).
			Try("fetch both again, with the same update parameter")
	}
	return nil
}

func missing(what string) error {
	return vm.Refuse(vm.CodeCollateral, "%s is missing", what)
}
