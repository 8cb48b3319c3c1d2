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
func (m *memory) checkSignatures(s *tdx.Signature, signed []byte, p platform) error {
	key, err := m.attestationKey(s, p)
	if err != nil {
		return err
	}
	return pki.Signed("the quote", signed, s.Quote, key)
}

// attestationKey returns the key that the platform's quoting enclave vouches
// for. An enclave makes one report for all its quotes.
func (m *memory) attestationKey(s *tdx.Signature, p platform) (*ecdsa.PublicKey, error) {
	if m == nil {
		return readAttestationKey(s, p.pck)
	}
	id := keyOf(p.pck.RawSubjectPublicKeyInfo, s.QEReport.Bytes(), s.QESignature[:], s.AttestationKey[:], s.AuthData)
	if key, _, ok := m.keys.get(id, anyTime); ok {
		return key, nil
	}
	key, err := readAttestationKey(s, p.pck)
	if err == nil {
		m.keys.put(id, key, always)
	}
	return key, err
}

// readAttestationKey is attestationKey without a memory.
func readAttestationKey(s *tdx.Signature, pck *x509.Certificate) (*ecdsa.PublicKey, error) {
	key, err := pki.Key(pck)
	if err != nil {
		return nil, err
	}
	if err := pki.Signed("the quoting enclave's report", s.QEReport.Bytes(), s.QESignature, key); err != nil {
		return nil, err
	}
	bound := sha256.Sum256(append(append(make([]byte, 0, 128), s.AttestationKey[:]...), s.AuthData...))
	var want [64]byte // the second half is zero
	copy(want[:], bound[:])
	if s.QEReport.ReportData != want {
		return nil, vm.Refuse(vm.CodeSignature, "the quoting enclave does not vouch for the attestation key").
			On("hash of attestation key and authentication data", vm.Hash(bound).String(), vm.Hash(s.QEReport.ReportData[:32]).String())
	}
	point := [65]byte{4}
	copy(point[1:], s.AttestationKey[:])
	attestation, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point[:])
	if err != nil {
		return nil, vm.Refuse(vm.CodeMalformed, "attestation key is not a point of P-256")
	}
	return attestation, nil
}

// checkVendor refuses quotes of another vendor's quoting enclave.
func checkVendor(vendor [16]byte) error {
	if vendor != tdx.IntelVendorID {
		return vm.Refuse(vm.CodeQEIdentity, "the quoting enclave is not Intel's").
			On("QE vendor ID", hexOf(vendor[:]), hexOf(tdx.IntelVendorID[:]))
	}
	return nil
}
