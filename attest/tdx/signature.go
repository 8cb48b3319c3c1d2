package tdx

import (
	"bytes"
	"encoding/binary"

	"github.com/secretvm/secretvm/vm"
)

// Certification data types (A.3.9).
const (
	CertPCKChain = 5 // PEM: PCK certificate, intermediate CA, root CA
	CertQEReport = 6 // the quoting enclave's report, with a chain of its own inside
)

// Signature is the quote's signature data (A.3.8): the attestation key with
// its signature, and the quoting enclave's report that vouches for that key.
type Signature struct {
	Quote          [64]byte // ECDSA P-256 over header and body: r ‖ s, big-endian
	AttestationKey [64]byte // P-256 point: x ‖ y, big-endian
	QEReport       EnclaveReport
	QESignature    [64]byte // over QEReport, by the PCK key
	AuthData       []byte   // at most MaxAuthData bytes
	PCKChain       []byte   // certification data of type CertPCKChain: PEM, perhaps NUL-terminated
}

// MaxAuthData bounds the quoting enclave's authentication data (Intel's has 32 bytes).
const MaxAuthData = 1024

const (
	offsetCertification = 128 // behind signature and attestation key
	certificationHeader = 6   // u16 type, u32 size
	offsetAuthSize      = enclaveReportSize + 64
)

// append writes the signature data behind b, without its length.
func (s *Signature) append(b []byte) []byte {
	b = append(b, s.Quote[:]...)
	b = append(b, s.AttestationKey[:]...)
	return appendCertification(b, CertQEReport, s.appendQE(nil))
}

// appendQE writes what the quoting enclave says about the attestation key.
func (s *Signature) appendQE(b []byte) []byte {
	b = s.QEReport.append(b)
	b = append(b, s.QESignature[:]...)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(s.AuthData)))
	b = append(b, s.AuthData...)
	return appendCertification(b, CertPCKChain, s.PCKChain)
}

func appendCertification(b []byte, kind uint16, data []byte) []byte {
	b = binary.LittleEndian.AppendUint16(b, kind)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(data)))
	return append(b, data...)
}

// decode reads signature data that fills b exactly.
func (s *Signature) decode(b []byte) error {
	if len(b) < offsetCertification {
		return truncated("signature data", len(b), offsetCertification)
	}
	copy(s.Quote[:], b)
	copy(s.AttestationKey[:], b[64:])
	inner, err := decodeCertification(b[offsetCertification:], CertQEReport)
	if err != nil {
		return err
	}
	return s.decodeQE(inner)
}

// decodeQE reads what the quoting enclave says about the attestation key.
func (s *Signature) decodeQE(b []byte) error {
	if len(b) < offsetAuthSize+2 {
		return truncated("QE report certification data", len(b), offsetAuthSize+2)
	}
	s.QEReport.decode(b)
	copy(s.QESignature[:], b[enclaveReportSize:])
	size := int(binary.LittleEndian.Uint16(b[offsetAuthSize:]))
	rest := b[offsetAuthSize+2:]
	switch {
	case size > MaxAuthData:
		return vm.Refuse(vm.CodeTooLarge, "QE authentication data has %d bytes, want at most %d", size, MaxAuthData)
	case size > len(rest):
		return truncated("QE authentication data", len(rest), size)
	}
	s.AuthData = bytes.Clone(rest[:size])
	chain, err := decodeCertification(rest[size:], CertPCKChain)
	s.PCKChain = bytes.Clone(chain)
	return err
}

// decodeCertification returns the data of a certification structure of the
// given type that fills b exactly.
func decodeCertification(b []byte, kind uint16) ([]byte, error) {
	if len(b) < certificationHeader {
		return nil, truncated("certification data", len(b), certificationHeader)
	}
	if found := binary.LittleEndian.Uint16(b); found != kind {
		return nil, malformed("certification data has type %d, want %d", found, kind)
	}
	size := binary.LittleEndian.Uint32(b[2:])
	if rest := b[certificationHeader:]; uint64(size) != uint64(len(rest)) {
		return nil, malformed("certification data of type %d claims %d bytes and has %d", kind, size, len(rest))
	}
	return b[certificationHeader:], nil
}

func malformed(format string, args ...any) error {
	return vm.Refuse(vm.CodeMalformed, "quote: "+format, args...)
}

func truncated(what string, has, want int) error {
	return malformed("%s has %d bytes, want at least %d", what, has, want)
}
