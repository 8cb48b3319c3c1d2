package endorsement

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/secretvm/secretvm/attest/nvidia/rim"
	"github.com/secretvm/secretvm/attest/tdx/collateral"
	"github.com/secretvm/secretvm/endorsement/store"
)

// Facts are what an object says about itself. None of it is verified.
type Facts struct {
	Vendor     string    `json:"vendor"`               // Intel, AMD or NVIDIA
	Kind       string    `json:"kind"`                 // "TCB info", "CRL" …
	Subject    string    `json:"subject"`              // FMSPC, CA, product, chip, manifest
	Early      bool      `json:"early,omitempty"`      // of the next TCB recovery, before it counts
	Evaluation int       `json:"evaluation,omitempty"` // tcbEvaluationDataNumber
	Issued     time.Time `json:"issued,omitzero"`      //
	Next       time.Time `json:"next_update,omitzero"` // when it ends, or a new one is due; zero where it does not say
}

// The kinds.
const (
	KindTCBInfo    = "TCB info"
	KindQEIdentity = "QE identity"
	KindPCKCRL     = "PCK CRL"
	KindRootCRL    = "root CRL"
	KindVCEK       = "VCEK"
	KindChain      = "certificate chain"
	KindCRL        = "CRL"
	KindRIM        = "manifest"
	KindOCSP       = "OCSP answer"
)

// Describe reads an entry. What does not parse as what was asked for is an
// error.
func Describe(e store.Entry) (Facts, error) {
	q, err := parseQuestion(e.Request)
	if err != nil {
		return Facts{}, err
	}
	return q.describe(e.Body)
}

// describe reads the answer to q.
func (q question) describe(body []byte) (f Facts, err error) {
	f = Facts{Vendor: q.vendor, Kind: q.kind, Subject: q.subject(), Early: q.update == updateEarly}
	switch q.kind {
	case KindTCBInfo:
		err = f.readSigned(collateral.KeyTCBInfo, body, q)
	case KindQEIdentity:
		err = f.readSigned(collateral.KeyQEIdentity, body, q)
	case KindPCKCRL, KindRootCRL, KindCRL:
		var list *x509.RevocationList
		if list, err = x509.ParseRevocationList(body); err == nil {
			f.Issued, f.Next = list.ThisUpdate, list.NextUpdate
		}
	case KindVCEK:
		var cert *x509.Certificate
		if cert, err = x509.ParseCertificate(body); err == nil {
			f.Issued, f.Next = cert.NotBefore, cert.NotAfter
		}
	case KindChain:
		err = f.readChain(body)
	case KindRIM:
		// Its signer's certificate bounds it; what has none is no less a
		// manifest, and the verifier says why it does not accept it.
		if signers, err := rim.Signers(body); err == nil {
			f.readCertificates(signers)
		}
		if !strings.HasPrefix(strings.TrimLeft(string(body[:min(len(body), 64)]), "\xef\xbb\xbf \t\r\n"), "<") {
			err = errors.New("is no XML")
		}
	case KindOCSP:
		var r *ocsp.Response
		if r, err = ocsp.ParseResponse(body, nil); err == nil {
			f.Issued, f.Next = r.ThisUpdate, r.NextUpdate
		}
	}
	if err != nil {
		return f, fmt.Errorf("%s of %s: %w", q.kind, q.subject(), err)
	}
	return f, nil
}

// readSigned reads the dates of Intel's JSON, and refuses what is about
// another platform: a service that mixes up its answers is worth an early word.
func (f *Facts) readSigned(key string, body []byte, q question) error {
	inner, _, err := collateral.Open(key, body)
	if err != nil {
		return err
	}
	var said struct {
		ID         string    `json:"id"`
		IssueDate  time.Time `json:"issueDate"`
		NextUpdate time.Time `json:"nextUpdate"`
		FMSPC      string    `json:"fmspc"`
		Evaluation int       `json:"tcbEvaluationDataNumber"`
	}
	if err := json.Unmarshal(inner, &said); err != nil {
		return err
	}
	id := map[string]string{KindTCBInfo + "tdx": "TDX", KindTCBInfo + "sgx": "SGX", KindQEIdentity + "tdx": "TD_QE", KindQEIdentity + "sgx": "QE"}[q.kind+q.tee]
	switch {
	case said.ID != id:
		return fmt.Errorf("is about %.20q, want %q", said.ID, id)
	case q.fmspc != "" && !strings.EqualFold(said.FMSPC, q.fmspc):
		return fmt.Errorf("is about FMSPC %.20q", said.FMSPC)
	case said.IssueDate.IsZero() || said.NextUpdate.IsZero():
		return errors.New("has no dates")
	}
	f.Issued, f.Next, f.Evaluation = said.IssueDate, said.NextUpdate, said.Evaluation
	return nil
}

// readChain reads PEM certificates.
func (f *Facts) readChain(body []byte) error {
	var certs []*x509.Certificate
	for {
		var block *pem.Block
		if block, body = pem.Decode(body); block == nil {
			break
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return err
		}
		certs = append(certs, cert)
	}
	if len(certs) == 0 {
		return errors.New("holds no certificate")
	}
	f.readCertificates(certs)
	return nil
}

// readCertificates takes the dates of several: from the latest begin to the
// earliest end.
func (f *Facts) readCertificates(certs []*x509.Certificate) {
	for _, cert := range certs {
		if cert.NotBefore.After(f.Issued) {
			f.Issued = cert.NotBefore
		}
		if f.Next.IsZero() || cert.NotAfter.Before(f.Next) {
			f.Next = cert.NotAfter
		}
	}
}

// recheck is how long a found object is used before the service is asked
// whether there is a newer one.
func (f Facts) recheck() time.Duration {
	switch f.Kind {
	case KindVCEK, KindChain:
		return 365 * 24 * time.Hour // a chip's certificate at one TCB stays what it is
	case KindRIM:
		return 30 * 24 * time.Hour
	}
	return 7 * 24 * time.Hour // so a TCB recovery or a revocation is seen within a week
}

// fresh reports whether an object that was fetched then need not be asked for
// again at now: it was looked at lately, and its end is not near (the last
// quarter of its life, at most a week).
func (f Facts) fresh(fetched, now time.Time) bool {
	if now.Before(f.Issued) || now.After(fetched.Add(f.recheck())) {
		return false
	}
	margin := min(f.Next.Sub(f.Issued)/4, 7*24*time.Hour)
	return f.Next.IsZero() || now.Before(f.Next.Add(-margin))
}

// stage is where in an object's life a moment lies.
type stage int

const (
	holding stage = iota
	ended
	future
)

func (f Facts) stage(now time.Time) stage {
	switch {
	case now.Before(f.Issued):
		return future
	case f.Expired(now):
		return ended
	}
	return holding
}

// Expired reports whether the object has ended at now. It may still be used,
// if a policy says so.
func (f Facts) Expired(now time.Time) bool { return !f.Next.IsZero() && now.After(f.Next) }
