// Package nvidiatest is the development counterpart of NVIDIA's attestation:
// a device identity PKI, signers of reference documents, a revocation
// responder, a remote attestation service, and devices that sign reports. It is
// everything that an attacker with whole PKIs of their own could forge, and
// nothing that NVIDIA signed. Tests use it; production never imports it.
//
// Reference documents and answers are not made by the code under test: the
// former are written out in canonical form, the latter come from another
// implementation of the protocol.
package nvidiatest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"time"
)

// PKI holds the CAs. Fields may be changed between uses.
type PKI struct {
	At                        time.Time // all is valid for a month around it
	DeviceRoot, Identity      Credential
	RIMRoot, RIMCA, RIMSigner Credential
	Service                   Credential // of the remote attestation service

	serial int64
}

// Credential is a certificate with its key.
type Credential struct {
	Cert *x509.Certificate
	Key  *ecdsa.PrivateKey
}

// New makes a PKI whose certificates are valid at the given time.
func New(at time.Time) (*PKI, error) {
	p := &PKI{At: at}
	for _, c := range []struct {
		to     *Credential
		name   string
		issuer *Credential
		ca     bool
	}{
		{&p.DeviceRoot, "development Device Identity CA", nil, true},
		{&p.Identity, "development GH100 Identity", &p.DeviceRoot, true},
		{&p.RIMRoot, "development CoRIM signing Root CA", nil, true},
		{&p.RIMCA, "development Reference Value GH100 CA", &p.RIMRoot, true},
		{&p.RIMSigner, "development RIM L4 Signer", &p.RIMCA, false},
		{&p.Service, "development attestation service", nil, false},
	} {
		var err error
		if *c.to, err = p.Issue(Template(at, c.name, c.ca), c.issuer); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// Roots are the PKI's two roots.
func (p *PKI) Roots() []*x509.Certificate {
	return []*x509.Certificate{p.DeviceRoot.Cert, p.RIMRoot.Cert}
}

// Template is a certificate to issue, valid for a month around at.
func Template(at time.Time, name string, ca bool) *x509.Certificate {
	t := &x509.Certificate{
		Subject:   pkix.Name{CommonName: name, Organization: []string{"secretvm development – INSECURE"}},
		NotBefore: at.AddDate(0, 0, -15), NotAfter: at.AddDate(0, 0, 15),
		KeyUsage:           x509.KeyUsageDigitalSignature,
		SignatureAlgorithm: x509.ECDSAWithSHA384,
	}
	if ca {
		t.IsCA, t.BasicConstraintsValid, t.KeyUsage = true, true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign
	}
	return t
}

// Issue makes a key on P-384 and its certificate, signed by issuer or, without
// one, by itself.
func (p *PKI) Issue(template *x509.Certificate, issuer *Credential) (c Credential, err error) {
	if c.Key, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader); err != nil {
		return c, fmt.Errorf("key for %s: %w", template.Subject.CommonName, err)
	}
	if template.SerialNumber == nil {
		p.serial++
		template.SerialNumber = big.NewInt(0x4100 + p.serial)
	}
	parent := Credential{Cert: template, Key: c.Key}
	if issuer != nil {
		parent = *issuer
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent.Cert, c.Key.Public(), parent.Key)
	if err != nil {
		return c, fmt.Errorf("certificate for %s: %w", template.Subject.CommonName, err)
	}
	if c.Cert, err = x509.ParseCertificate(der); err != nil {
		return c, fmt.Errorf("certificate for %s: %w", template.Subject.CommonName, err)
	}
	return c, nil
}

// sign returns r ‖ s over the SHA-384 of message.
func sign(key *ecdsa.PrivateKey, message []byte) ([]byte, error) {
	digest := sha512.Sum384(message)
	r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	signature := make([]byte, 96)
	r.FillBytes(signature[:48])
	s.FillBytes(signature[48:])
	return signature, nil
}
