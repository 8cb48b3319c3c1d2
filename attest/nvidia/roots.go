package nvidia

import (
	"bytes"
	"crypto/x509"
	_ "embed"
	"sync"

	"github.com/secretvm/secretvm/attest/nvidia/pki"
)

// NVIDIA's roots. They are the trust anchors of its attestation SDK; the first
// is also the last certificate of every device's chain, the second that of
// every reference document. SHA-256 of their DER:
//
//	Device Identity CA      102bf659d5419614c9d8e6aecebc80454eb26b1df6a769ac720b9a690b167b48
//	CoRIM signing Root CA   12977b5115acb0381179279fffeb5a8c4d264971ebb32298023a465fa41df5d1
var (
	//go:embed device_identity_ca.pem
	devicePEM []byte
	//go:embed rim_signing_ca.pem
	rimPEM []byte

	deviceRoot = sync.OnceValue(func() *x509.Certificate { return embedded(devicePEM) })
	rimRoot    = sync.OnceValue(func() *x509.Certificate { return embedded(rimPEM) })
)

func embedded(b []byte) *x509.Certificate {
	certs, err := pki.ParsePEM("embedded NVIDIA root", b)
	if err != nil {
		panic("nvidia: " + err.Error())
	}
	return certs[0]
}

// DeviceRoot returns NVIDIA's root for devices. The certificate is shared: do
// not change it.
func DeviceRoot() *x509.Certificate { return deviceRoot() }

// RIMRoot returns NVIDIA's root for reference documents, shared likewise.
func RIMRoot() *x509.Certificate { return rimRoot() }

// rootsFor returns the roots for one of the two purposes: those that were
// named, but never NVIDIA's root for the other purpose; or NVIDIA's.
func rootsFor(named []*x509.Certificate, own, other *x509.Certificate) []*x509.Certificate {
	if len(named) == 0 {
		return []*x509.Certificate{own}
	}
	var roots []*x509.Certificate
	for _, root := range named {
		if !bytes.Equal(root.RawSubjectPublicKeyInfo, other.RawSubjectPublicKeyInfo) {
			roots = append(roots, root)
		}
	}
	return roots
}
