package spdm

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/secretvm/secretvm/vm"
)

// Sizes of the parts, in bytes (DSP0274 1.1, tables 41 and 43).
const (
	NonceSize     = 32
	RequestSize   = 37 // header 4, nonce 32, slot 1
	SignatureSize = 96 // ECDSA on P-384: r ‖ s, big-endian
	DigestSize    = 48 // SHA-384

	headerSize = 8 // of the response: header 4, number of blocks 1, record length 3
	maxSize    = 64 << 10
	maxOpaque  = 16 << 10
)

// Values of the header fields that such a pair has.
const (
	version11     = 0x11
	codeRequest   = 0xE0 // GET_MEASUREMENTS
	codeResponse  = 0x60 // MEASUREMENTS
	wantSignature = 0x01 // in param1 of the request
	allBlocks     = 0xFF // in param2 of the request
	specDMTF      = 0x01 // measurement specification of a block
)

// Report is the pair of request and response. Blocks are in their order.
type Report struct {
	RequestNonce  [NonceSize]byte // the verifier's
	Slot          byte            // certificate slot asked for
	Param1        byte            // of the response
	Param2        byte            // of the response
	Blocks        []Block
	ResponseNonce [NonceSize]byte // the device's
	Opaque        Opaque
	Signature     [SignatureSize]byte

	signed []byte
}

// Block is one measurement. Index counts from 1, as on the wire; reference
// documents count from 0.
type Block struct {
	Index byte
	Type  byte // DMTF value type; bit 7 says raw instead of a digest
	Value []byte
}

// Signed returns the bytes under the device's signature: all but it.
func (r Report) Signed() []byte { return r.signed }

// Measurement returns the value with an index that counts from 0, as
// reference documents do.
func (r Report) Measurement(index int) ([]byte, bool) {
	for _, b := range r.Blocks {
		if int(b.Index) == index+1 {
			return b.Value, true
		}
	}
	return nil, false
}

// Decode reads a report. It refuses other versions of SPDM, requests that did
// not ask for all blocks and a signature, blocks that are not the DMTF's or
// come twice, and bytes that are left over, other than zeros.
func Decode(b []byte) (Report, error) {
	if len(b) > maxSize {
		return Report{}, vm.Refuse(vm.CodeTooLarge, "GPU evidence has %d bytes, want at most %d", len(b), maxSize)
	}
	var r Report
	all := b
	request, b, ok := cut(b, RequestSize)
	if !ok {
		return Report{}, malformed("it ends inside the request")
	}
	if request[0] != version11 || request[1] != codeRequest {
		return Report{}, malformed("it begins with % x, not with an SPDM 1.1 GET_MEASUREMENTS request", request[:2])
	}
	if request[2] != wantSignature || request[3] != allBlocks {
		return Report{}, malformed("the request (parameters % x) does not ask for all measurements with a signature", request[2:4])
	}
	copy(r.RequestNonce[:], request[4:])
	r.Slot = request[RequestSize-1]

	header, b, ok := cut(b, headerSize)
	if !ok {
		return Report{}, malformed("it ends inside the response's header")
	}
	if header[0] != version11 || header[1] != codeResponse {
		return Report{}, malformed("the response begins with % x, not as SPDM 1.1 MEASUREMENTS", header[:2])
	}
	r.Param1, r.Param2 = header[2], header[3]
	record, b, ok := cut(b, int(header[5])|int(header[6])<<8|int(header[7])<<16)
	if !ok {
		return Report{}, malformed("it ends inside the measurements")
	}
	var err error
	if r.Blocks, err = decodeBlocks(record, int(header[4])); err != nil {
		return Report{}, err
	}
	if b, ok = fill(r.ResponseNonce[:], b); !ok {
		return Report{}, malformed("it ends inside the response's nonce")
	}
	size, b, ok := cut(b, 2)
	if !ok {
		return Report{}, malformed("it ends before the opaque data")
	}
	opaque, b, ok := cut(b, int(binary.LittleEndian.Uint16(size)))
	if !ok || len(opaque) > maxOpaque {
		return Report{}, malformed("opaque data has %d bytes, of which it holds %d", binary.LittleEndian.Uint16(size), len(b))
	}
	if r.Opaque, err = decodeOpaque(opaque); err != nil {
		return Report{}, err
	}
	r.signed = all[:len(all)-len(b)]
	if b, ok = fill(r.Signature[:], b); !ok {
		return Report{}, malformed("it ends inside the signature")
	}
	// Whoever collects reports reads them into a longer buffer.
	if rest := bytes.TrimLeft(b, "\x00"); len(rest) > 0 {
		return Report{}, malformed("%d bytes follow the signature", len(rest))
	}
	return r, nil
}

func decodeBlocks(b []byte, count int) ([]Block, error) {
	var blocks []Block
	seen := map[byte]bool{}
	for len(b) > 0 {
		header, rest, ok := cut(b, 4)
		if !ok {
			return nil, malformed("measurement %d ends inside its header", len(blocks)+1)
		}
		block, rest, ok := cut(rest, int(binary.LittleEndian.Uint16(header[2:])))
		if !ok || len(block) < 3 || int(binary.LittleEndian.Uint16(block[1:])) != len(block)-3 {
			return nil, malformed("measurement %d has sizes that contradict one another", header[0])
		}
		if header[1] != specDMTF {
			return nil, malformed("measurement %d follows specification %#x, want DMTF's %#x", header[0], header[1], specDMTF)
		}
		if header[0] == 0 || header[0] == allBlocks || seen[header[0]] {
			return nil, malformed("measurement index %d is not one, or comes twice", header[0])
		}
		seen[header[0]] = true
		blocks = append(blocks, Block{Index: header[0], Type: block[0], Value: block[3:]})
		b = rest
	}
	if len(blocks) != count {
		return nil, malformed("it holds %d measurements and says %d", len(blocks), count)
	}
	return blocks, nil
}

// Encode returns the bytes of r, with its signature as it is.
func Encode(r Report) []byte {
	b := append([]byte{version11, codeRequest, wantSignature, allBlocks}, r.RequestNonce[:]...)
	var record []byte
	for _, m := range r.Blocks {
		record = append(record, m.Index, specDMTF)
		record = binary.LittleEndian.AppendUint16(record, uint16(len(m.Value)+3))
		record = append(record, m.Type)
		record = binary.LittleEndian.AppendUint16(record, uint16(len(m.Value)))
		record = append(record, m.Value...)
	}
	b = append(b, r.Slot, version11, codeResponse, r.Param1, r.Param2, byte(len(r.Blocks)))
	b = append(b, byte(len(record)), byte(len(record)>>8), byte(len(record)>>16))
	b = append(b, record...)
	b = append(b, r.ResponseNonce[:]...)
	opaque := encodeOpaque(r.Opaque)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(opaque)))
	b = append(b, opaque...)
	return append(b, r.Signature[:]...)
}

func cut(b []byte, n int) (head, tail []byte, ok bool) {
	if n > len(b) {
		return nil, b, false
	}
	return b[:n:n], b[n:], true
}

func fill(to, b []byte) ([]byte, bool) {
	head, tail, ok := cut(b, len(to))
	copy(to, head)
	return tail, ok
}

func malformed(format string, args ...any) error {
	return vm.Refuse(vm.CodeMalformed, "GPU evidence: %s", fmt.Sprintf(format, args...))
}
