package attestd

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"sync"
	"time"

	"github.com/secretvm/secretvm/guest/attestation"
	"github.com/secretvm/secretvm/vm"
)

// The certificate is re-issued under the same key before it lapses: the key is
// what quotes name, and it lives as long as the boot.
const (
	certificateLife = 7 * 24 * time.Hour
	certificateSlop = 24 * time.Hour // clocks differ, the guest's may be its host's
)

// bootKey is the TLS key of one boot, and the certificates for it. It never
// leaves memory.
type bootKey struct {
	attestation.Key
	random io.Reader
	now    func() time.Time
	learn  func(name string) // called before a certificate for name is chosen; nil: nothing changes

	mu          sync.Mutex
	evidence    []byte // value of the certificate's extension; nil: none yet
	certificate *tls.Certificate
	public      *tls.Certificate // by an authority, for the same key; nil: none
}

func newBootKey(key attestation.Key) *bootKey {
	return &bootKey{Key: key, random: rand.Reader, now: time.Now}
}

// tlsConfig allows TLS 1.3 alone, and no resumption: each connection proves
// the key anew.
func (k *bootKey) tlsConfig() *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		SessionTicketsDisabled: true,
		GetCertificate:         k.present,
	}
}

// show puts evidence into the certificates from now on.
func (k *bootKey) show(evidence []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.evidence, k.certificate = evidence, nil
}

// current returns the certificate, issuing one when there is none or it is
// about to lapse.
func (k *bootKey) current() (*tls.Certificate, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.now()
	if k.certificate != nil && now.Add(certificateSlop).Before(k.certificate.Leaf.NotAfter) {
		return k.certificate, nil
	}
	serial := make([]byte, 16)
	if _, err := io.ReadFull(k.random, serial); err != nil {
		return nil, fmt.Errorf("issue certificate: %w", err)
	}
	serial[0] &= 0x7f // positive, at most 20 octets (RFC 5280, 4.1.2.2)
	template := &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(serial),
		// No authority vouches for this certificate, and its names say so.
		Subject:     pkix.Name{CommonName: "secretvm attestation service: trust the quote, not this name"},
		DNSNames:    []string{"attestation.secretvm.invalid"},
		NotBefore:   now.Add(-certificateSlop),
		NotAfter:    now.Add(certificateLife),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if k.evidence != nil { // not critical: clients that do not know it may ask /attestation
		template.ExtraExtensions = []pkix.Extension{{Id: vm.OIDEvidence, Value: k.evidence}}
	}
	der, err := x509.CreateCertificate(k.random, template, template, &k.Private.PublicKey, k.Private)
	if err != nil {
		return nil, fmt.Errorf("issue certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read back certificate: %w", err)
	}
	k.certificate = &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: k.Private, Leaf: leaf}
	return k.certificate, nil
}
