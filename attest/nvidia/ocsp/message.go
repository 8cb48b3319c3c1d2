package ocsp

import (
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"time"
)

// Structures of RFC 6960, 4.2.1.
type response struct {
	Status asn1.Enumerated
	Bytes  responseBytes `asn1:"explicit,tag:0,optional"`
}

type responseBytes struct {
	Type     asn1.ObjectIdentifier
	Response []byte
}

type basicResponse struct {
	Data         responseData
	Algorithm    pkix.AlgorithmIdentifier
	Signature    asn1.BitString
	Certificates []asn1.RawValue `asn1:"explicit,tag:0,optional"`
}

type responseData struct {
	Raw        asn1.RawContent
	Version    int `asn1:"optional,default:0,explicit,tag:0"`
	Responder  asn1.RawValue
	ProducedAt time.Time `asn1:"generalized"`
	Responses  []singleResponse
	Extensions []pkix.Extension `asn1:"explicit,tag:1,optional"`
}

type singleResponse struct {
	ID         certID
	Good       asn1.Flag   `asn1:"tag:0,optional"`
	Revoked    revokedInfo `asn1:"tag:1,optional"`
	Unknown    asn1.Flag   `asn1:"tag:2,optional"`
	ThisUpdate time.Time   `asn1:"generalized"`
	NextUpdate time.Time   `asn1:"generalized,explicit,tag:0,optional"`

	Extensions []pkix.Extension `asn1:"explicit,tag:1,optional"`
}

type certID struct {
	Hash       pkix.AlgorithmIdentifier
	IssuerName []byte
	IssuerKey  []byte
	Serial     *big.Int
}

type revokedInfo struct {
	At     time.Time       `asn1:"generalized"`
	Reason asn1.Enumerated `asn1:"explicit,tag:0,optional"`
}

// identify makes the name that the protocol gives to cert below issuer.
func identify(algorithm asn1.ObjectIdentifier, cert, issuer *x509.Certificate) (id certID, err error) {
	var key struct {
		Algorithm pkix.AlgorithmIdentifier
		Bits      asn1.BitString
	}
	if _, err := asn1.Unmarshal(issuer.RawSubjectPublicKeyInfo, &key); err != nil {
		return id, malformed("key of %q: %v", issuer.Subject.CommonName, err)
	}
	var digest func([]byte) []byte
	switch {
	case algorithm.Equal(oidSHA1):
		// Most clients ask so. The digest only finds the issuer, whose signature decides.
		digest = func(b []byte) []byte { sum := sha1.Sum(b); return sum[:] }
	case algorithm.Equal(oidSHA256):
		digest = func(b []byte) []byte { sum := sha256.Sum256(b); return sum[:] }
	case algorithm.Equal(oidSHA384):
		digest = func(b []byte) []byte { sum := sha512.Sum384(b); return sum[:] }
	default:
		return id, malformed("it names certificates by hash %v, want SHA-1, SHA-256 or SHA-384", algorithm)
	}
	return certID{
		Hash:       pkix.AlgorithmIdentifier{Algorithm: algorithm},
		IssuerName: digest(issuer.RawSubject), IssuerKey: digest(key.Bits.RightAlign()), Serial: cert.SerialNumber,
	}, nil
}
