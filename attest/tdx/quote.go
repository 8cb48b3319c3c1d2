package tdx

import (
	"bytes"
	"encoding/binary"

	"github.com/secretvm/secretvm/vm"
)

const (
	descriptorSize = 6 // version 5: u16 body type, u32 body size
	lengthSize     = 4 // u32 length of the signature data
)

// Quote is a TDX quote of version 4 or 5.
type Quote struct {
	Header    Header
	BodyType  uint16 // BodyTD10, or BodyTD15 in version 5 quotes
	Body      Body
	Signature Signature
}

// Signed returns the bytes that the attestation key signs: header and body,
// in version 5 with the body's type and size between them.
func (q *Quote) Signed() []byte {
	b := q.Header.append(make([]byte, 0, headerSize+descriptorSize+bodySizeTD15))
	if q.Header.Version >= Version5 {
		b = binary.LittleEndian.AppendUint16(b, q.BodyType)
		b = binary.LittleEndian.AppendUint32(b, uint32(bodySize(q.BodyType)))
	}
	return q.Body.append(b, q.BodyType)
}

// Encode returns the bytes of the quote.
func Encode(q Quote) []byte {
	signature := q.Signature.append(nil)
	b := binary.LittleEndian.AppendUint32(q.Signed(), uint32(len(signature)))
	return append(b, signature...)
}

// Decode reads a quote of at most vm.MaxQuoteSize bytes. Zero bytes behind it
// are padding, which configfs-tsm and Intel's QGS leave there; any other
// trailing byte is an error. Errors are *vm.Refusal: malformed or too-large.
func Decode(b []byte) (q Quote, err error) {
	if len(b) > vm.MaxQuoteSize {
		return q, vm.Refuse(vm.CodeTooLarge, "quote has %d bytes, want at most %d", len(b), vm.MaxQuoteSize)
	}
	if len(b) < headerSize {
		return q, truncated("header", len(b), headerSize)
	}
	q.Header = decodeHeader(b)
	if err := q.Header.check(); err != nil {
		return q, err
	}
	rest := b[headerSize:]
	if q.BodyType, rest, err = decodeDescriptor(q.Header.Version, rest); err != nil {
		return q, err
	}
	size := bodySize(q.BodyType)
	if len(rest) < size {
		return q, truncated("body", len(rest), size)
	}
	q.Body.decode(rest, q.BodyType)
	data, err := signatureData(rest[size:])
	if err != nil {
		return q, err
	}
	return q, q.Signature.decode(data)
}

// signatureData returns the signature data, which its length precedes and at
// most zero padding follows.
func signatureData(b []byte) ([]byte, error) {
	if len(b) < lengthSize {
		return nil, truncated("signature length", len(b), lengthSize)
	}
	size := binary.LittleEndian.Uint32(b)
	b = b[lengthSize:]
	if uint64(size) > uint64(len(b)) {
		return nil, malformed("signature data claims %d bytes and has %d", size, len(b))
	}
	if trailing := bytes.TrimRight(b[size:], "\x00"); len(trailing) > 0 {
		return nil, malformed("%d bytes behind the signature data, want zero padding only", len(trailing))
	}
	return b[:size], nil
}

// check refuses what is not a TDX quote in a version that this package reads.
func (h Header) check() error {
	switch {
	case h.Version != Version4 && h.Version != Version5:
		return malformed("version is %d, want 4 or 5", h.Version)
	case h.TEEType != TEETypeTDX:
		return malformed("TEE type is %#x, want %#x (TDX)", h.TEEType, TEETypeTDX)
	case h.KeyType != KeyTypeECDSAP256:
		return malformed("attestation key type is %d, want %d (ECDSA P-256)", h.KeyType, KeyTypeECDSAP256)
	}
	return nil
}

// decodeDescriptor reads the body's type, which only version 5 spells out.
func decodeDescriptor(version uint16, b []byte) (kind uint16, rest []byte, err error) {
	if version == Version4 {
		return BodyTD10, b, nil
	}
	if len(b) < descriptorSize {
		return 0, nil, truncated("body descriptor", len(b), descriptorSize)
	}
	kind = binary.LittleEndian.Uint16(b)
	size := binary.LittleEndian.Uint32(b[2:])
	switch {
	case kind != BodyTD10 && kind != BodyTD15:
		return 0, nil, malformed("body type is %d, want %d or %d (TD report)", kind, BodyTD10, BodyTD15)
	case size != uint32(bodySize(kind)):
		return 0, nil, malformed("body of type %d claims %d bytes, want %d", kind, size, bodySize(kind))
	}
	return kind, b[descriptorSize:], nil
}

func bodySize(kind uint16) int {
	if kind == BodyTD15 {
		return bodySizeTD15
	}
	return bodySizeTD10
}
