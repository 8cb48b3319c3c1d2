package attestation

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/secretvm/secretvm/guest/ipc"
	"github.com/secretvm/secretvm/vm"
)

// Key is the TLS key of one boot: P-256, since browsers accept no Ed25519
// certificates. It is made by guestd, so that a service which was taken over
// cannot have quotes name a key that it brought, and a restarted one has the key
// that verifiers know. It never leaves memory.
type Key struct {
	Private *ecdsa.PrivateKey
	SPKI    vm.Hash // SHA-256 of the SubjectPublicKeyInfo, DER
}

// NewKey draws one.
func NewKey() (Key, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Key{}, fmt.Errorf("make TLS key: %w", err)
	}
	return keyOf(private)
}

// ParseKey reads the one in Settings.
func ParseKey(s ipc.Secret) (Key, error) {
	private, err := x509.ParsePKCS8PrivateKey(s)
	if err != nil {
		return Key{}, fmt.Errorf("read TLS key: %w", err)
	}
	p256, ok := private.(*ecdsa.PrivateKey)
	if !ok || p256.Curve != elliptic.P256() {
		return Key{}, errors.New("read TLS key: it is not one of P-256")
	}
	return keyOf(p256)
}

func keyOf(private *ecdsa.PrivateKey) (Key, error) {
	der, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
	if err != nil {
		return Key{}, fmt.Errorf("encode TLS key: %w", err)
	}
	return Key{private, vm.HashOf(der)}, nil
}

// String keeps the key out of logs.
func (Key) String() string { return "redacted" }

// Secret is the key as ParseKey reads it.
func (k Key) Secret() (ipc.Secret, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k.Private)
	if err != nil {
		return nil, fmt.Errorf("encode TLS key: %w", err)
	}
	return der, nil
}

// Request is a request for a certificate of names (PKCS #10, DER) that the key
// signed.
func (k Key) Request(names []string) ([]byte, error) {
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: names}, k.Private)
	if err != nil {
		return nil, fmt.Errorf("request certificate: %w", err)
	}
	return csr, nil
}
