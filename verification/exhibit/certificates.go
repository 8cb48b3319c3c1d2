package exhibit

import (
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"strings"

	"github.com/secretvm/secretvm/attest"
	"github.com/secretvm/secretvm/attest/nvidia"
	"github.com/secretvm/secretvm/attest/snp"
	"github.com/secretvm/secretvm/attest/tdx/pki"
	"github.com/secretvm/secretvm/vm"
)

// maxCertificates bounds what one file shows.
const maxCertificates = 64

// certificates shows a PEM file.
func certificates(title string, b []byte) Section {
	s := Section{Title: title}
	for n := 1; n <= maxCertificates; n++ {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			break
		}
		switch block.Type {
		case "CERTIFICATE":
			s.certificate(fmt.Sprintf("certificate %d", n), block.Bytes)
		case "X509 CRL":
			s.crl(fmt.Sprintf("CRL %d", n), block.Bytes)
		default:
			s.row(fmt.Sprintf("block %d", n), "%s", block.Type)
		}
	}
	if len(s.Rows) == 0 {
		s.row("certificates", "none in PEM")
	}
	return s
}

// certificate shows one certificate in DER.
func (s *Section) certificate(name string, der []byte) {
	c, err := x509.ParseCertificate(der)
	if err != nil {
		s.unread(name, err)
		return
	}
	s.remark(name, c.Subject.String(), "%s", rootOf(c))
	if c.Subject.String() != c.Issuer.String() {
		s.row("  issued by", "%s", c.Issuer)
	}
	s.row("  valid", "%s to %s", day(c.NotBefore), day(c.NotAfter))
	s.row("  serial, sha256", "%x, %s", c.SerialNumber, vm.HashOf(c.Raw))
	if e, err := pki.ParseExtensions(c); err == nil {
		s.row("  FMSPC, PCE", "%x, %x, PCE SVN %d", e.FMSPC, e.PCEID, e.PCESVN)
		s.row("  TCB", "%s", strings.Trim(fmt.Sprint(e.SVN), "[]"))
		if e.PlatformInstance != [16]byte{} {
			s.row("  hardware id", "%x", e.PlatformInstance)
		}
	}
	if k, err := snp.ParseKey(c); err == nil {
		s.row("  key", "%s of %s, TCB %s", k.Signer, k.Line, k.TCB)
		if len(k.ChipID) > 0 {
			s.row("  hardware id", "%s", hex.EncodeToString(k.ChipID))
		}
		if k.Provider != "" {
			s.row("  provider", "%s", k.Provider)
		}
	}
}

// rootOf names the vendor whose built-in root a certificate is.
func rootOf(c *x509.Certificate) string {
	vendors := map[string][]*x509.Certificate{
		"Intel": {attest.IntelRoot()}, "AMD": snp.Roots(), "NVIDIA": {nvidia.DeviceRoot(), nvidia.RIMRoot()},
	}
	for vendor, roots := range vendors {
		for _, r := range roots {
			if r.Equal(c) {
				return "this is " + vendor + "'s production root"
			}
		}
	}
	if c.Subject.String() == c.Issuer.String() {
		return "a root of its own, of no vendor"
	}
	return ""
}

// crl shows a revocation list in DER.
func (s *Section) crl(name string, der []byte) {
	l, err := x509.ParseRevocationList(der)
	if err != nil {
		s.unread(name, err)
		return
	}
	s.row(name, "of %s, %s to %s, %d revoked", l.Issuer, day(l.ThisUpdate), day(l.NextUpdate), len(l.RevokedCertificateEntries))
}
