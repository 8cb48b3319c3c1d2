package verification

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// ParseRoots reads one or more certificates in PEM. Each must be a CA: a leaf
// named as a root would be trusted for nothing, and silently.
func ParseRoots(b []byte) ([]*x509.Certificate, error) {
	var roots []*x509.Certificate
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("read root certificate: found a PEM block %q, want CERTIFICATE", block.Type)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("read root certificate: %w", err)
		}
		if !cert.IsCA {
			return nil, fmt.Errorf("read root certificate: %q is not a certificate authority", cert.Subject)
		}
		roots = append(roots, cert)
	}
	if len(roots) == 0 {
		return nil, errors.New("read root certificate: no PEM certificate in the file")
	}
	return roots, nil
}
