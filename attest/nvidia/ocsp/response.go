package ocsp

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"time"

	"github.com/secretvm/secretvm/attest/nvidia/pki"
	"github.com/secretvm/secretvm/vm"
)

// maxSize bounds an answer, in bytes.
const maxSize = 16 << 10

var (
	oidBasic  = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 1}
	oidSHA1   = asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}
	oidSHA256 = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
	oidSHA384 = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 2}

	algorithms = map[string]x509.SignatureAlgorithm{
		"1.2.840.10045.4.3.2": x509.ECDSAWithSHA256,
		"1.2.840.10045.4.3.3": x509.ECDSAWithSHA384,
	}
)

// Response is an answer, its signature not yet checked.
type Response struct {
	basic basicResponse
	certs []*x509.Certificate
}

// Parse reads an answer in DER.
func Parse(der []byte) (r Response, err error) {
	if len(der) > maxSize {
		return r, vm.Refuse(vm.CodeTooLarge, "OCSP answer has %d bytes, want at most %d", len(der), maxSize)
	}
	var outer response
	if rest, err := asn1.Unmarshal(der, &outer); err != nil || len(rest) > 0 {
		return r, malformed("it is no OCSPResponse: %v, %d bytes left", err, len(rest))
	}
	if outer.Status != 0 || !outer.Bytes.Type.Equal(oidBasic) {
		return r, malformed("the responder gave no answer (status %d)", outer.Status)
	}
	if rest, err := asn1.Unmarshal(outer.Bytes.Response, &r.basic); err != nil || len(rest) > 0 {
		return r, malformed("it is no BasicOCSPResponse: %v, %d bytes left", err, len(rest))
	}
	if err := refuseCritical(r.basic.Data.Extensions); err != nil {
		return r, err
	}
	for _, raw := range r.basic.Certificates {
		cert, err := pki.Parse("an OCSP answer", raw.FullBytes)
		if err != nil {
			return r, err
		}
		r.certs = append(r.certs, cert)
	}
	return r, nil
}

// Status is what an answer says about one certificate.
type Status struct {
	Good    bool
	Revoked bool // else, when not good either, the responder does not know it
	Hold    bool // revoked for the time being (certificateHold)
}

// certificateHold of RFC 5280, 5.3.1.
const certificateHold = 6

// Covers reports whether the answer is about cert below issuer.
func (r Response) Covers(cert, issuer *x509.Certificate) bool { return r.find(cert, issuer) != nil }

func (r Response) find(cert, issuer *x509.Certificate) *singleResponse {
	for i := range r.basic.Data.Responses {
		single := &r.basic.Data.Responses[i]
		id, err := identify(single.ID.Hash.Algorithm, cert, issuer)
		if err == nil && bytes.Equal(id.IssuerName, single.ID.IssuerName) && bytes.Equal(id.IssuerKey, single.ID.IssuerKey) && id.Serial.Cmp(single.ID.Serial) == 0 {
			return single
		}
	}
	return nil
}

// About returns what the answer says about chain[0], whose issuer is chain[1],
// and so on to the root; the chain was verified before. The answer must be
// signed by one of the CAs or on behalf of one, and current at the Checker's
// time; stale is how long after its end it is still taken.
func (r Response) About(check *pki.Checker, chain []*x509.Certificate, stale time.Duration) (s Status, err error) {
	what := "OCSP answer about " + chain[0].Subject.CommonName
	single := r.find(chain[0], chain[1])
	if single == nil {
		return s, vm.Refuse(vm.CodeCollateral, "%s: it is about another certificate", what)
	}
	if err := refuseCritical(single.Extensions); err != nil {
		return s, err
	}
	if err := r.signed(check, what, chain[1:]); err != nil {
		return s, err
	}
	end := single.NextUpdate
	if end.IsZero() {
		end = single.ThisUpdate.Add(undated)
	}
	if err := check.Window(what, single.ThisUpdate, end.Add(stale)); err != nil {
		return s, err
	}
	s.Revoked = !single.Revoked.At.IsZero()
	s.Good = bool(single.Good) && !s.Revoked && !bool(single.Unknown)
	s.Hold = s.Revoked && single.Revoked.Reason == certificateHold
	return s, nil
}

// undated is how long an answer holds that names no end: its responder has
// news at any time.
const undated = 24 * time.Hour

// signed refuses the answer unless one of issuers signed it, or a responder
// that one of them appointed. The answer says which it is, so that one
// signature is tried, or two with the responder's own.
func (r Response) signed(check *pki.Checker, what string, issuers []*x509.Certificate) error {
	signer := r.signer(issuers)
	if signer == nil {
		if signer = r.signer(r.certs); signer == nil {
			return vm.Refuse(vm.CodeSignature, "%s: neither the certificate's issuer nor a responder of it signed the answer", what)
		}
		if err := appointed(check, what, signer, issuers); err != nil {
			return err
		}
	}
	algorithm := algorithms[r.basic.Algorithm.Algorithm.String()]
	return check.SignedASN1(what, signer, algorithm, r.basic.Data.Raw, r.basic.Signature.RightAlign())
}

// signer returns the first of certs that the answer's responder id (RFC 6960,
// 4.2.2.3) fits: its name, or the SHA-1 of its key.
func (r Response) signer(certs []*x509.Certificate) *x509.Certificate {
	id := r.basic.Data.Responder
	for _, cert := range certs {
		switch id.Tag {
		case 1:
			if bytes.Equal(id.Bytes, cert.RawSubject) {
				return cert
			}
		case 2:
			named, err := identify(oidSHA1, cert, cert)
			var digest []byte
			if rest, fault := asn1.Unmarshal(id.Bytes, &digest); err == nil && fault == nil && len(rest) == 0 && bytes.Equal(digest, named.IssuerKey) {
				return cert
			}
		}
	}
	return nil
}

// appointed refuses a responder without the purpose of signing answers, given
// by one of issuers.
func appointed(check *pki.Checker, what string, responder *x509.Certificate, issuers []*x509.Certificate) error {
	for _, usage := range responder.ExtKeyUsage {
		if usage != x509.ExtKeyUsageOCSPSigning {
			continue
		}
		for _, issuer := range issuers {
			if bytes.Equal(responder.RawIssuer, issuer.RawSubject) {
				return check.Issued("responder of the "+what, responder, issuer)
			}
		}
	}
	return vm.Refuse(vm.CodeChain, "%s: %q is no responder", what, responder.Subject.CommonName)
}

func refuseCritical(extensions []pkix.Extension) error {
	for _, e := range extensions {
		if e.Critical {
			return malformed("unknown critical extension %v", e.Id)
		}
	}
	return nil
}

func malformed(format string, args ...any) error {
	return vm.Refuse(vm.CodeMalformed, "OCSP answer: %s", fmt.Sprintf(format, args...))
}
