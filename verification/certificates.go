package verification

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"strings"

	"github.com/secretvm/secretvm/vm"
)

// AddCertificates puts a file of AMD's certificates into c: the key that signed
// a report (VCEK, VLEK), what stands above it, or a revocation list; in PEM or
// DER. It reports whether the file is one.
func AddCertificates(c *vm.AMDCollateral, b []byte) bool {
	if bytes.Contains(b, []byte("-----BEGIN ")) {
		found := false
		for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
			found = addDER(c, block.Bytes) || found
		}
		return found
	}
	return addDER(c, b)
}

func addDER(c *vm.AMDCollateral, der []byte) bool {
	if _, err := x509.ParseRevocationList(der); err == nil {
		c.CRL = der
		return true
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return false
	}
	if name := cert.Subject.CommonName; strings.HasPrefix(name, "SEV-VCEK") || strings.HasPrefix(name, "SEV-VLEK") {
		c.EndorsementKey = der
		return true
	}
	c.Chain = append(c.Chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	return true
}
