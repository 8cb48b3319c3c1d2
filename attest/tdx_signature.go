package attest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"

	"github.com/secretvm/secretvm/attest/tdx"
	"github.com/secretvm/secretvm/attest/tdx/pki"
	"github.com/secretvm/secretvm/vm"
)

// checkSignatures follows the signatures from the PCK to the quoted bytes: the
// PCK signs the quoting enclave's report, the report names the attestation
// key, the attestation key signs header and body.
func checkSignatures(s *tdx.Signature, signed []byte, pck *x509.Certificate) error {
	key, err := pki.Key(pck)
	if err != nil {
		return err
	}
	if err := pki.Signed("the quoting enclave's report", s.QEReport.Bytes(), s.QESignature, key); err != nil {
		return err
	}
	bound := sha256.Sum256(append(append(make([]byte, 0, 128), s.AttestationKey[:]...), s.AuthData...))
	var want [64]byte // the second half is zero
	copy(want[:], bound[:])
	if s.QEReport.ReportData != want {
		return vm.Refuse(vm.CodeSignature, "the quoting enclave does not vouch for the attestation key").
			On("hash of attestation key and authentication data", vm.Hash(bound).String(), vm.Hash(s.QEReport.ReportData[:32]).String())
	}
	point := [65]byte{4}
	copy(point[1:], s.AttestationKey[:])
	attestation, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point[:])
	if err != nil {
		return vm.Refuse(vm.CodeMalformed, "attestation key is not a point of P-256")
	}
	return pki.Signed("the quote", signed, s.Quote, attestation)
}

// checkVendor refuses quotes of another vendor's quoting enclave.
func checkVendor(vendor [16]byte) error {
	if vendor != tdx.IntelVendorID {
		return vm.Refuse(vm.CodeQEIdentity, "the quoting enclave is not Intel's").
			On("QE vendor ID", hexOf(vendor[:]), hexOf(tdx.IntelVendorID[:]))
	}
	return nil
}
