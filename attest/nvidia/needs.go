package nvidia

import (
	"crypto/x509"
	"slices"

	"github.com/secretvm/secretvm/attest/nvidia/ocsp"
	"github.com/secretvm/secretvm/attest/nvidia/pki"
	"github.com/secretvm/secretvm/attest/nvidia/rim"
	"github.com/secretvm/secretvm/attest/nvidia/spdm"
	"github.com/secretvm/secretvm/vm"
)

// DefaultOCSP is NVIDIA's responder, for certificates that do not name one.
const DefaultOCSP = "http://ocsp.ndis.nvidia.com"

// Need is what a verification of evidence wants besides it.
type Need struct {
	RIMs []RIMRef
	OCSP []OCSPRef
}

// RIMRef names a reference document, by its id at NVIDIA's RIM service.
type RIMRef struct {
	ID      string
	Version string // of the driver or firmware
	Have    bool   // whether the evidence carries one that says it is about that
}

// OCSPRef names a certificate whose revocation status is wanted.
type OCSPRef struct {
	Cert, Issuer *x509.Certificate
	URL          string // of the responder
	Have         bool
}

// Request returns the question to POST to URL, in DER.
func (r OCSPRef) Request() ([]byte, error) { return ocsp.Request(r.Cert, r.Issuer) }

// Needs lists what evidence wants, each once. It trusts nothing and proves
// nothing: a fetcher asks for the list, adds what it can get, and Verify then
// judges. Certificates of reference documents are listed once the documents
// are there, so a fetcher asks twice.
func Needs(ev *vm.GPUEvidence) (n Need, err error) {
	if err := checkBounds(ev); err != nil {
		return n, err
	}
	documents, err := parseClaims(ev.RIMs)
	if err != nil {
		return n, err
	}
	answers, err := parseAnswers(ev.OCSP)
	if err != nil {
		return n, err
	}
	for i, d := range ev.Devices {
		if err := n.device(d, documents, answers); err != nil {
			return n, about(err, i)
		}
	}
	return n, nil
}

func (n *Need) device(d vm.GPUDevice, documents []*document, answers []answer) error {
	report, err := spdm.Decode(d.Evidence)
	if err != nil {
		return err
	}
	certs, err := pki.ParsePEM("the device's certificate chain", d.CertChain)
	if err != nil {
		return err
	}
	if len(certs) < 3 {
		return vm.Refuse(vm.CodeChain, "the device's certificate chain has %d certificates, want at least 3", len(certs))
	}
	chip, family, err := chipOf(certs)
	if err != nil {
		return err
	}
	id, err := identify(chip, family, report.Opaque)
	if err != nil {
		return err
	}
	n.addOCSP(certs, 1, answers)
	for _, r := range id.references() {
		ref := RIMRef{ID: r.id, Version: r.version}
		for _, document := range documents {
			if !document.fits(id, r) {
				continue
			}
			ref.Have = true
			signers, err := rim.Signers(document.raw)
			if err != nil {
				return err
			}
			n.addOCSP(signers, 0, answers)
		}
		if !slices.Contains(n.RIMs, ref) {
			n.RIMs = append(n.RIMs, ref)
		}
	}
	return nil
}

func (n *Need) addOCSP(chain []*x509.Certificate, from int, answers []answer) {
	for i := from; i < len(chain)-1; i++ {
		ref := OCSPRef{Cert: chain[i], Issuer: chain[i+1], URL: DefaultOCSP}
		if len(ref.Cert.OCSPServer) > 0 {
			ref.URL = ref.Cert.OCSPServer[0]
		}
		ref.Have = slices.ContainsFunc(answers, func(a answer) bool { return a.Covers(ref.Cert, ref.Issuer) })
		if !slices.ContainsFunc(n.OCSP, func(o OCSPRef) bool { return o.Cert.Equal(ref.Cert) }) {
			n.OCSP = append(n.OCSP, ref)
		}
	}
}
