package attest

import (
	"bytes"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"github.com/secretvm/secretvm/attest/tdx/collateral"
	"github.com/secretvm/secretvm/attest/tdx/pki"
	"github.com/secretvm/secretvm/vm"
)

// said is what Intel signed about a platform, after every signature and date
// has been checked. It is not changed afterwards.
type said struct {
	tcb     collateral.TCBInfo
	qe      collateral.QEIdentity
	revoked *pki.List // by the CA of PCK certificates
	fresh   time.Time // the earliest nextUpdate
}

// subject names the documents about one kind of quoted thing.
type subject struct{ tcbInfo, qeIdentity string }

var (
	aboutTDX = subject{collateral.IDTDX, collateral.IDTDQE}
	aboutSGX = subject{collateral.IDSGX, collateral.IDQE}
)

// openCollateral checks the collateral's signatures, validity and revocations,
// and that it speaks about this platform.
func (m *memory) openCollateral(check *pki.Checker, c *vm.Collateral, p platform, about subject, policy *Policy) (s said, valid span, err error) {
	if c == nil {
		return s, valid, vm.Refuse(vm.CodeCollateral, "evidence comes without collateral").
			Try("a quote alone proves neither that its platform is current nor that it was not revoked: add Intel's collateral for FMSPC " +
				collateral.Hex(p.sgx.FMSPC[:]).String())
	}
	var key vm.Hash
	if m != nil {
		key = keyOf([]byte(about.tcbInfo), p.root.Raw, p.ca.Raw, binary.LittleEndian.AppendUint64(nil, uint64(check.Stale)),
			c.PCKCRL, c.PCKCRLChain, c.RootCACRL, c.TCBInfo, c.TCBInfoChain, c.QEIdentity, c.QEIdentityChain)
		if s, valid, ok := m.said.get(key, check.At); ok {
			return s, valid, s.fits(p, policy)
		}
	}
	if s, err = readCollateral(check, c, p, about); err != nil {
		return s, valid, err
	}
	s.fresh = check.Fresh()
	valid = span{check.From(), check.Until()}
	if m != nil {
		kept := s
		kept.revoked = s.revoked.Clone() // the rest shares nothing with c
		m.said.put(key, kept, valid)
	}
	return s, valid, s.fits(p, policy)
}

// readCollateral is openCollateral without a memory, and without what depends
// on the single machine or on the policy.
func readCollateral(check *pki.Checker, c *vm.Collateral, p platform, about subject) (s said, err error) {
	byRoot, err := check.CRL("CRL of the root CA", c.RootCACRL, p.root)
	if err != nil {
		return s, err
	}
	if s.revoked, err = openRevocation(check, c, p, byRoot); err != nil {
		return s, err
	}
	inner, signer, err := openSigned(check, "TCB info", collateral.KeyTCBInfo, c.TCBInfo, c.TCBInfoChain)
	if err != nil {
		return s, err
	}
	if err := pki.Revoked(byRoot, signer); err != nil {
		return s, err
	}
	if s.tcb, err = collateral.ParseTCBInfo(inner, about.tcbInfo); err != nil {
		return s, err
	}
	inner, signer, err = openSigned(check, "QE identity", collateral.KeyQEIdentity, c.QEIdentity, c.QEIdentityChain)
	if err != nil {
		return s, err
	}
	if err := pki.Revoked(byRoot, signer); err != nil {
		return s, err
	}
	if s.qe, err = collateral.ParseQEIdentity(inner, about.qeIdentity); err != nil {
		return s, err
	}
	return s, s.current(check)
}

// openRevocation refuses a CA that has been revoked, and returns its own list.
func openRevocation(check *pki.Checker, c *vm.Collateral, p platform, byRoot *pki.List) (*pki.List, error) {
	if err := pki.Revoked(byRoot, p.ca); err != nil {
		return nil, err
	}
	if len(c.PCKCRLChain) == 0 {
		return nil, missing("issuer chain of the PCK CRL")
	}
	certs, err := check.Certificates("issuer chain of the PCK CRL", c.PCKCRLChain)
	if err != nil {
		return nil, err
	}
	if len(certs) != 2 || !bytes.Equal(certs[0].Raw, p.ca.Raw) {
		return nil, vm.Refuse(vm.CodeCollateral, "the PCK CRL comes from another CA than the PCK certificate").
			On("issuer", certs[0].Subject.CommonName, p.ca.Subject.CommonName)
	}
	if _, err := check.Chain("issuer chain of the PCK CRL", certs); err != nil {
		return nil, err
	}
	return check.CRL("CRL of the PCK CA", c.PCKCRL, p.ca)
}

// openSigned returns the signed bytes of an envelope, and the certificate of
// its signer: a TCB signing certificate below the root.
func openSigned(check *pki.Checker, what, key string, envelope, chain []byte) (inner []byte, signer *x509.Certificate, err error) {
	inner, signature, err := collateral.Open(key, envelope)
	if err != nil {
		return nil, nil, err
	}
	chainName := "issuer chain of the " + what
	if len(chain) == 0 {
		return nil, nil, missing(chainName)
	}
	certs, err := check.Certificates(chainName, chain)
	if err != nil {
		return nil, nil, err
	}
	if len(certs) != 2 {
		return nil, nil, vm.Refuse(vm.CodeMalformed, "%s has %d certificates, want 2: signer, root", chainName, len(certs))
	}
	if _, err := check.Chain(chainName, certs); err != nil {
		return nil, nil, err
	}
	signer = certs[0]
	if err := pki.Named("signer of the "+what, signer, pki.NameTCBSigner); err != nil {
		return nil, nil, err
	}
	public, err := pki.Key(signer)
	if err != nil {
		return nil, nil, err
	}
	return inner, signer, pki.Signed("the "+what, inner, signature, public)
}

// current refuses genuine documents of another day, or of different days.
func (s said) current(check *pki.Checker) error {
	if err := check.Current("TCB info", s.tcb.IssueDate, s.tcb.NextUpdate); err != nil {
		return err
	}
	if err := check.Current("QE identity", s.qe.IssueDate, s.qe.NextUpdate); err != nil {
		return err
	}
	if s.tcb.TCBEvaluationDataNumber != s.qe.TCBEvaluationDataNumber {
		return vm.Refuse(vm.CodeCollateral, "TCB info and QE identity are from different evaluations").
			On("tcbEvaluationDataNumber", fmt.Sprint(s.qe.TCBEvaluationDataNumber), fmt.Sprint(s.tcb.TCBEvaluationDataNumber)).
			Try("fetch both again, with the same update parameter")
	}
	return nil
}

// fits refuses genuine collateral about another platform, about one whose own
// certificate is revoked, or from an evaluation that the policy calls too old.
func (s said) fits(p platform, policy *Policy) error {
	if err := pki.Revoked(s.revoked, p.pck); err != nil {
		return err
	}
	switch {
	case !bytes.Equal(s.tcb.FMSPC, p.sgx.FMSPC[:]):
		fmspc := collateral.Hex(p.sgx.FMSPC[:]).String()
		return vm.Refuse(vm.CodeCollateral, "the TCB info is about another kind of platform").
			On("FMSPC", s.tcb.FMSPC.String(), fmspc).Try("fetch the TCB info for FMSPC " + strings.ToLower(fmspc))
	case !bytes.Equal(s.tcb.PCEID, p.sgx.PCEID[:]):
		return vm.Refuse(vm.CodeCollateral, "the TCB info is about another provisioning enclave").
			On("PCEID", s.tcb.PCEID.String(), collateral.Hex(p.sgx.PCEID[:]).String())
	case s.tcb.TCBEvaluationDataNumber < policy.MinEvaluation:
		return vm.Refuse(vm.CodeCollateral, "the collateral is from an older evaluation than the policy wants").
			On("tcbEvaluationDataNumber", fmt.Sprint(s.tcb.TCBEvaluationDataNumber), fmt.Sprintf("at least %d", policy.MinEvaluation)).
			Try("fetch it again: the service has had newer ones since")
	}
	return nil
}

func missing(what string) error {
	return vm.Refuse(vm.CodeCollateral, "%s is missing", what)
}
