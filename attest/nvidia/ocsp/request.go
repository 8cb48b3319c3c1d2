package ocsp

import (
	"crypto/x509"
	"encoding/asn1"
)

// Structures of RFC 6960, 4.1.1.
type request struct {
	Data requestData
}

type requestData struct {
	List []singleRequest
}

type singleRequest struct {
	ID certID
}

// Request returns the DER of a question about cert, which issuer issued, for a
// POST of type application/ocsp-request. It names both by SHA-384, as NVIDIA's
// own tools do, and carries no nonce: the answer is to be kept.
func Request(cert, issuer *x509.Certificate) ([]byte, error) {
	id, err := identify(oidSHA384, cert, issuer)
	if err != nil {
		return nil, err
	}
	der, err := asn1.Marshal(request{requestData{[]singleRequest{{id}}}})
	if err != nil {
		return nil, malformed("request about %q: %v", cert.Subject.CommonName, err)
	}
	return der, nil
}
