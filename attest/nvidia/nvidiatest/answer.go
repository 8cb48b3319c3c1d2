package nvidiatest

import (
	"crypto"
	"crypto/x509"
	"fmt"
	"time"

	"golang.org/x/crypto/ocsp"
)

// Statuses of certificates.
const (
	Good    = ocsp.Good
	Revoked = ocsp.Revoked
	Unknown = ocsp.Unknown
	Hold    = -1 // revoked, for the time being
)

// Answer is a responder's word about cert, for a week from a day before the
// PKI's time. The issuer answers itself, unless a responder is given.
func (p *PKI) Answer(cert *x509.Certificate, issuer Credential, status int, responder *Credential) ([]byte, error) {
	template := ocsp.Response{
		Status: status, SerialNumber: cert.SerialNumber, IssuerHash: crypto.SHA384,
		ThisUpdate: p.At.AddDate(0, 0, -1), NextUpdate: p.At.AddDate(0, 0, 6),
		SignatureAlgorithm: x509.ECDSAWithSHA384,
	}
	if status == Revoked || status == Hold {
		template.Status, template.RevokedAt, template.RevocationReason = ocsp.Revoked, p.At.Add(-time.Hour), ocsp.KeyCompromise
	}
	if status == Hold {
		template.RevocationReason = ocsp.CertificateHold
	}
	by := issuer
	if responder != nil {
		by, template.Certificate = *responder, responder.Cert
	}
	der, err := ocsp.CreateResponse(issuer.Cert, by.Cert, template, by.Key)
	if err != nil {
		return nil, fmt.Errorf("answer about %s: %w", cert.Subject.CommonName, err)
	}
	return der, nil
}

// Responder is a certificate with the purpose of answering for issuer.
func (p *PKI) Responder(issuer Credential) (Credential, error) {
	template := Template(p.At, "development OCSP responder", false)
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}
	return p.Issue(template, &issuer)
}

// Answers are the good ones that evidence of devices and the PKI's reference
// documents need.
func (p *PKI) Answers(devices ...*Device) ([][]byte, error) {
	chains := [][]Credential{{p.RIMSigner, p.RIMCA, p.RIMRoot}}
	for _, d := range devices {
		chains = append(chains, d.Chain[1:])
	}
	var all [][]byte
	for _, chain := range chains {
		for i := range chain[:len(chain)-1] {
			der, err := p.Answer(chain[i].Cert, chain[i+1], Good, nil)
			if err != nil {
				return nil, err
			}
			all = append(all, der)
		}
	}
	return all, nil
}
