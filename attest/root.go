package attest

import (
	"bytes"
	"crypto/x509"
	_ "embed"
	"sync"

	"github.com/secretvm/secretvm/attest/tdx/pki"
	"github.com/secretvm/secretvm/vm"
)

// intelRootPEM is the Intel SGX Root CA, which signs all of Intel's SGX and
// TDX attestation. Intel publishes it at
// https://certificates.trustedservices.intel.com/IntelSGXRootCA.der
// (SHA-256 of the DER 44a0196b…, of the public key a0af0312…); it is also the
// last certificate of every genuine quote, from which a test compares it.
//
//go:embed intel_sgx_root_ca.pem
var intelRootPEM []byte

var intelRoot = sync.OnceValue(func() *x509.Certificate {
	certs, err := pki.ParsePEM("embedded Intel root", intelRootPEM)
	if err != nil {
		panic("attest: " + err.Error())
	}
	return certs[0]
})

// IntelRoot returns Intel's production root, the default trust anchor. The
// certificate is shared: do not change it.
func IntelRoot() *x509.Certificate { return intelRoot() }

// Anchor describes a root certificate as verdicts name the one they rest on:
// with the vendor's name for a vendor's production root, without for any other.
func Anchor(root *x509.Certificate) vm.Anchor { return anchor(root) }

// anchor describes the root that a verdict rests on.
func anchor(root *x509.Certificate) vm.Anchor {
	a := vm.Anchor{
		Subject: root.Subject.String(),
		SHA256:  vm.HashOf(root.Raw),
		Intel:   bytes.Equal(root.Raw, IntelRoot().Raw),
	}
	switch {
	case a.Intel:
		a.Vendor = "Intel"
	case isAMD(root):
		a.Vendor = vendorAMD
	case isNVIDIA(root):
		a.Vendor = "NVIDIA"
	}
	return a
}
