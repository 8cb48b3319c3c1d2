package attestd

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"sync"
	"time"

	"github.com/secretvm/secretvm/vm"
)

// The certificate is re-issued under the same key before it lapses: the key is
// what quotes name, and it lives as long as the boot.
const (
	certificateLife = 7 * 24 * time.Hour
	certificateSlop = 24 * time.Hour // clocks differ, the guest's may be its host's
)

// bootKey is the TLS key of one boot: P-256, since browsers accept no Ed25519
// certificates. It never leaves memory.
type bootKey struct {
	private *ecdsa.PrivateKey
	spki    vm.Hash // SHA-256 of the SubjectPublicKeyInfo, DER
	random  io.Reader
	now     func() time.Time

	mu          sync.Mutex
	evidence    []byte // value of the certificate's extension; nil: none yet
	certificate *tls.Certificate
	public      *tls.Certificate // by an authority, for the same key; nil: none
}

func newBootKey(random io.Reader) (*bootKey, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), random)
	if err != nil {
		return nil, fmt.Errorf("make TLS key: %w", err)
	}
	der, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("encode TLS key: %w", err)
	}
	return &bootKey{private: private, spki: vm.HashOf(der), random: random, now: time.Now}, nil
}

// String keeps the key out of logs.
func (k *bootKey) String() string { return "redacted" }

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
	der, err := x509.CreateCertificate(k.random, template, template, &k.private.PublicKey, k.private)
	if err != nil {
		return nil, fmt.Errorf("issue certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read back certificate: %w", err)
	}
	k.certificate = &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: k.private, Leaf: leaf}
	return k.certificate, nil
}
