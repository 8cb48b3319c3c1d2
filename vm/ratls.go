package vm

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// Evidence in an X.509 certificate, as the Confidential Computing Consortium's
// "Interoperable RA-TLS" has it, which Gramine and rats-tls read: the value of
// the extension is the tagged CBOR array [quote, claims], where claims is a byte
// string of a CBOR map of text to byte strings. Report data is the SHA-256 of
// claims, then zeros; the claim pubkey-hash names the certificate's key.
//
// OIDEvidence is TCG's tcg-dice-TaggedEvidence.
var OIDEvidence = []int{2, 23, 133, 5, 4, 9}

// CBOR tags of the array: that of Intel's quotes is registered with IANA, that
// of AMD's reports is the one of rats-tls.
const (
	tagIntelQuote = 60000
	tagSNPReport  = 0x1a7504
)

// Claims of a certificate. claimEvents is ours, and others pass over it: the
// runtime events as JSON, without which a register says nothing.
const (
	claimKey    = "pubkey-hash"
	claimEvents = "secretvm-events"
)

// sha256ID is SHA-256 in IANA's Named Information Hash Algorithm Registry.
const sha256ID = 1

// CBOR's major types (RFC 8949, 3.1).
const (
	cborUint, cborBytes, cborText, cborArray, cborMap, cborTag = 0, 2, 3, 4, 5, 6
)

// CertificateClaims returns the claims about a key, and about the events that
// explain the machine's registers (JSON; nil: none).
func CertificateClaims(spki Hash, events []byte) []byte {
	entry := cborHead(cborHead(nil, cborArray, 2), cborUint, sha256ID)
	entry = cborString(entry, cborBytes, spki[:])
	pairs := uint64(1)
	if events != nil {
		pairs = 2
	}
	out := cborString(cborHead(nil, cborMap, pairs), cborText, []byte(claimKey))
	out = cborString(out, cborBytes, entry)
	if events != nil {
		out = cborString(out, cborText, []byte(claimEvents))
		out = cborString(out, cborBytes, events)
	}
	return out
}

// ClaimsReportData is the report data of the quote beside claims.
func ClaimsReportData(claims []byte) (rd [64]byte) {
	sum := sha256.Sum256(claims)
	copy(rd[:], sum[:])
	return rd
}

// CertificateEvidence is the value of the extension.
func CertificateEvidence(tee TEE, quote, claims []byte) []byte {
	tag := uint64(tagIntelQuote)
	if tee == SNP {
		tag = tagSNPReport
	}
	out := cborHead(cborHead(nil, cborTag, tag), cborArray, 2)
	return cborString(cborString(out, cborBytes, quote), cborBytes, claims)
}

// ParseCertificateEvidence reads the value of the extension: a quote and the
// claims that its report data must name. Nothing of it is believed.
func ParseCertificateEvidence(b []byte) (tee TEE, quote, claims []byte, err error) {
	r := &cborReader{rest: b}
	switch tag := r.head(cborTag); {
	case r.err == nil && tag == tagIntelQuote:
		tee = TDX
	case r.err == nil && tag == tagSNPReport:
		tee = SNP
	case r.err == nil:
		r.err = fmt.Errorf("its CBOR tag is %d, want %d or %d", tag, tagIntelQuote, tagSNPReport)
	}
	if n := r.head(cborArray); r.err == nil && n != 2 {
		r.err = fmt.Errorf("its array has %d entries, want 2", n)
	}
	quote, claims = r.bytes(cborBytes), r.bytes(cborBytes)
	if err := r.end(MaxQuoteSize+MaxEventsSize, b); err != nil {
		return "", nil, nil, fmt.Errorf("read evidence of certificate: %w", err)
	}
	return tee, quote, claims, nil
}

// maxClaims bounds the entries of one map.
const maxClaims = 16

// ParseCertificateClaims returns the SHA-256 of the key (SubjectPublicKeyInfo,
// DER) that claims name, and the events (JSON) if they are there. Other claims
// are passed over, as the format wants it.
func ParseCertificateClaims(b []byte) (spki Hash, events []byte, err error) {
	r := &cborReader{rest: b}
	pairs := r.head(cborMap)
	if r.err == nil && pairs > maxClaims {
		r.err = fmt.Errorf("there are %d, want at most %d", pairs, maxClaims)
	}
	seen := map[string]bool{}
	for range pairs {
		name, value := string(r.bytes(cborText)), r.bytes(cborBytes)
		if r.err != nil {
			break
		}
		if seen[name] {
			r.err = fmt.Errorf("%.40q stands there twice", name)
		}
		seen[name] = true
		switch name {
		case claimKey:
			e := &cborReader{rest: value}
			n, id, sum := e.head(cborArray), e.head(cborUint), e.bytes(cborBytes)
			if e.end(64, value) != nil || n != 2 || id != sha256ID || len(sum) != len(spki) {
				r.err = fmt.Errorf("%s is no SHA-256", claimKey)
			}
			copy(spki[:], sum)
		case claimEvents:
			events = value
		}
	}
	if r.err == nil && !seen[claimKey] {
		r.err = fmt.Errorf("%s is missing", claimKey)
	}
	if err := r.end(MaxEventsSize, b); err != nil {
		return Hash{}, nil, fmt.Errorf("read claims of certificate: %w", err)
	}
	return spki, events, nil
}

// cborHead appends the head of an item: its major type and its argument in the
// shortest form.
func cborHead(out []byte, major byte, n uint64) []byte {
	switch major <<= 5; {
	case n < 24:
		return append(out, major|byte(n))
	case n < 1<<8:
		return append(out, major|24, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(out, major|25), uint16(n))
	default: // nothing here has 4 GiB
		return binary.BigEndian.AppendUint32(append(out, major|26), uint32(n))
	}
}

func cborString(out []byte, major byte, s []byte) []byte {
	return append(cborHead(out, major, uint64(len(s))), s...)
}

// cborReader takes items off the front of rest. After the first error nothing
// is read. Only the shortest form of definite lengths is accepted.
type cborReader struct {
	rest []byte
	err  error
}

func (r *cborReader) head(major byte) uint64 {
	if r.err != nil {
		return 0
	}
	fail := func(what string) uint64 {
		r.err = fmt.Errorf("CBOR: %s", what)
		return 0
	}
	if len(r.rest) == 0 {
		return fail("it ends early")
	}
	first := r.rest[0]
	if first>>5 != major {
		return fail(fmt.Sprintf("an item is of type %d, want %d", first>>5, major))
	}
	size := 0
	if low := first & 31; low >= 24 {
		size = 1 << (low - 24)
	}
	if size > 4 || len(r.rest) < 1+size {
		return fail("a length is too long")
	}
	n := uint64(first & 31)
	if size > 0 {
		n = 0
		for _, c := range r.rest[1 : 1+size] {
			n = n<<8 | uint64(c)
		}
	}
	if shortest := cborHead(nil, major, n); len(shortest) != 1+size {
		return fail("a length is not in its shortest form")
	}
	r.rest = r.rest[1+size:]
	return n
}

func (r *cborReader) bytes(major byte) []byte {
	n := r.head(major)
	if r.err == nil && n > uint64(len(r.rest)) {
		r.err = fmt.Errorf("CBOR: a string of %d bytes, of which %d are there", n, len(r.rest))
	}
	if r.err != nil {
		return nil
	}
	out := r.rest[:n:n]
	r.rest = r.rest[n:]
	return out
}

// end reports the first error, bytes that are left over, or too many of them.
func (r *cborReader) end(limit int, all []byte) error {
	switch {
	case len(all) > limit:
		return fmt.Errorf("%d bytes, want at most %d", len(all), limit)
	case r.err == nil && len(r.rest) > 0:
		return fmt.Errorf("CBOR: %d bytes too many", len(r.rest))
	}
	return r.err
}
