package pki

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"

	"github.com/secretvm/secretvm/vm"
)

// ParsePEM reads a bundle of one to three certificates. Between and behind
// them there may be white space and NUL bytes only: Intel's libraries
// terminate the string.
func ParsePEM(what string, b []byte) ([]*x509.Certificate, error) {
	return (&Checker{memory: &memory{}}).Certificates(what, b)
}

// Certificates is ParsePEM for a Checker, which reads no certificate twice.
func (c *Checker) Certificates(what string, b []byte) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for b = trimBlank(b); len(b) > 0; b = trimBlank(b) {
		text, rest, ok := cutPEM(b)
		if !ok {
			return nil, vm.Refuse(vm.CodeMalformed, "%s is not a plain PEM bundle of certificates", what)
		}
		if len(certs) == maxChain {
			return nil, vm.Refuse(vm.CodeTooLarge, "%s has more than %d certificates", what, maxChain)
		}
		cert, wrong := c.memory.read(text, c.Roots)
		if wrong != "" {
			return nil, vm.Refuse(vm.CodeMalformed, "certificate %d of %s: %s", len(certs)+1, what, wrong)
		}
		certs = append(certs, cert)
		b = rest
	}
	if len(certs) == 0 {
		return nil, vm.Refuse(vm.CodeMalformed, "%s holds no certificate", what)
	}
	return certs, nil
}

// read returns the certificate of a PEM text, or says what is wrong with it. A
// trusted root is not read again.
func (m *memory) read(text []byte, roots []*x509.Certificate) (cert *x509.Certificate, wrong string) {
	for _, s := range m.certs {
		if bytes.Equal(s.text, text) {
			return s.cert, ""
		}
	}
	b := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Strict().Decode(b, text)
	if err != nil {
		return nil, "not base64"
	}
	b = b[:n]
	for _, root := range roots {
		if bytes.Equal(root.Raw, b) {
			cert = root
		}
	}
	if cert == nil {
		if cert, err = x509.ParseCertificate(b); err != nil {
			return nil, err.Error()
		}
		if len(cert.UnhandledCriticalExtensions) > 0 {
			return nil, "unknown critical extension " + cert.UnhandledCriticalExtensions[0].String()
		}
	}
	m.certs = append(m.certs, seen{text, cert})
	return cert, ""
}

// The lines around a certificate (RFC 7468).
var (
	beginCertificate = []byte("-----BEGIN CERTIFICATE-----")
	endCertificate   = []byte("-----END CERTIFICATE-----")
)

// cutPEM takes one certificate in PEM from the front of b and returns the
// base64 text inside: lines of the alphabet, no headers, nothing else.
func cutPEM(b []byte) (text, rest []byte, ok bool) {
	b, ok = bytes.CutPrefix(b, beginCertificate)
	if !ok || len(b) == 0 || (b[0] != '\n' && b[0] != '\r') {
		return nil, nil, false
	}
	text, rest, ok = bytes.Cut(b, endCertificate)
	// The alphabet has no '-': a text with another line in it ends here too.
	if !ok || len(text) < 2 || text[len(text)-1] != '\n' || bytes.IndexByte(text, '-') >= 0 {
		return nil, nil, false
	}
	if len(rest) > 0 && trimBlank(rest[:1]) != nil {
		return nil, nil, false
	}
	return text, rest, true
}

// trimBlank removes what may stand in front of a certificate, and returns nil
// when nothing else is left.
func trimBlank(b []byte) []byte {
	for i, c := range b {
		if c != ' ' && c != '\t' && c != '\r' && c != '\n' && c != 0 {
			return b[i:]
		}
	}
	return nil
}
