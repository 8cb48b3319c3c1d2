package tdx

import (
	"encoding/binary"

	"github.com/secretvm/secretvm/vm"
)

// Version3 is the version of SGX quotes (Intel SGX ECDSA Quote Library
// Reference, appendix A.4).
const Version3 = 3

// Bits of an enclave's ATTRIBUTES, byte 0 (Intel SDM, volume 3D, 36.7.1).
const (
	EnclaveInitialised byte = 1 << 0
	EnclaveDebug       byte = 1 << 1 // the host may read and change the enclave
)

// SGXQuote is a quote of version 3, about an SGX enclave.
type SGXQuote struct {
	Header    Header        // KeyType and VendorID as in TDX; the rest is not used
	Report    EnclaveReport // of the enclave
	Signature Signature     // over header and report
}

// Signed returns the bytes that the attestation key signs.
func (q *SGXQuote) Signed() []byte {
	return q.Report.append(q.Header.append(make([]byte, 0, headerSize+enclaveReportSize)))
}

// EncodeSGX returns the bytes of the quote.
func EncodeSGX(q SGXQuote) []byte {
	data := append(append([]byte{}, q.Signature.Quote[:]...), q.Signature.AttestationKey[:]...)
	data = q.Signature.appendQE(data)
	b := binary.LittleEndian.AppendUint32(q.Signed(), uint32(len(data)))
	return append(b, data...)
}

// DecodeSGX reads a quote of version 3, of at most vm.MaxQuoteSize bytes. Zero
// bytes behind it are padding. Errors are *vm.Refusal: malformed or too-large.
func DecodeSGX(b []byte) (q SGXQuote, err error) {
	if len(b) > vm.MaxQuoteSize {
		return q, vm.Refuse(vm.CodeTooLarge, "quote has %d bytes, want at most %d", len(b), vm.MaxQuoteSize)
	}
	if len(b) < headerSize+enclaveReportSize {
		return q, truncated("header and report", len(b), headerSize+enclaveReportSize)
	}
	switch q.Header = decodeHeader(b); {
	case q.Header.Version != Version3:
		return q, malformed("version is %d, want %d (SGX)", q.Header.Version, Version3)
	case q.Header.KeyType != KeyTypeECDSAP256:
		return q, malformed("attestation key type is %d, want %d (ECDSA P-256)", q.Header.KeyType, KeyTypeECDSAP256)
	}
	q.Report.decode(b[headerSize:])
	data, err := signatureData(b[headerSize+enclaveReportSize:])
	if err != nil {
		return q, err
	}
	if len(data) < offsetCertification {
		return q, truncated("signature data", len(data), offsetCertification)
	}
	copy(q.Signature.Quote[:], data)
	copy(q.Signature.AttestationKey[:], data[64:])
	return q, q.Signature.decodeQE(data[offsetCertification:])
}
