package verification

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"slices"

	"github.com/secretvm/secretvm/vm"
)

// FormCertificate is a certificate that carries evidence about its own key.
const FormCertificate Form = "certificate with evidence (RA-TLS)"

// CertificateAnswer reads the evidence in a certificate (see
// vm.CertificateEvidence), as Gramine, rats-tls and secretvm put it there. The
// answer has no connection; whoever saw one sets TLSKey. Its claims name the
// certificate's key, or it is refused.
func CertificateAnswer(cert *x509.Certificate) (Answer, error) {
	malformed := func(format string, args ...any) (Answer, error) {
		return Answer{}, vm.Refuse(vm.CodeMalformed, "the certificate carries no evidence that secretvm knows: "+format, args...)
	}
	i := slices.IndexFunc(cert.Extensions, func(e pkix.Extension) bool { return slices.Equal(e.Id, vm.OIDEvidence) })
	if i < 0 {
		return malformed("it has no extension 2.23.133.5.4.9")
	}
	tee, quote, claims, err := vm.ParseCertificateEvidence(cert.Extensions[i].Value)
	if err != nil {
		return malformed("%v", err)
	}
	key, events, err := vm.ParseCertificateClaims(claims)
	if err != nil {
		return malformed("%v", err)
	}
	if own := vm.HashOf(cert.RawSubjectPublicKeyInfo); key != own {
		return Answer{}, vm.Refuse(vm.CodeReportData, "the certificate's evidence is about another key").
			On("pubkey-hash", key.String(), own.String()).Try("evidence was copied from another machine's certificate")
	}
	a := Answer{Claims: claims}
	a.Attestation = vm.Attestation{TLSKey: key, Evidence: vm.Evidence{TEE: tee, Quote: quote}}
	if known, _, ok := recogniseBinary(quote); ok { // the tag is that of all of Intel's quotes
		a.Attestation.Evidence.TEE = known.Attestation.Evidence.TEE
	}
	if events != nil {
		if err := json.Unmarshal(events, &a.Attestation.Evidence.Events); err != nil {
			return malformed("its events: %.200q", err.Error())
		}
		if n := len(a.Attestation.Evidence.Events); n > vm.MaxEvents {
			return malformed("%d events, at most %d are allowed", n, vm.MaxEvents)
		}
	}
	return a, nil
}

// recogniseCertificate reads a certificate in DER, or the first in a file of PEM.
func recogniseCertificate(b []byte) (a Answer, isOne bool, err error) {
	cert, err := x509.ParseCertificate(b)
	if block, _ := pem.Decode(b); err != nil && block != nil {
		cert, err = x509.ParseCertificate(block.Bytes)
	}
	if err != nil {
		return Answer{}, false, nil //nolint:nilerr // it is something else
	}
	a, err = CertificateAnswer(cert)
	return a, true, err
}

// certified decides what a certificate's evidence shows: that the key is the
// machine's. It answers no nonce.
func (f *finding) certified() (connection, fresh Check) {
	rd := vm.ClaimsReportData(f.answer.Claims)
	key := f.answer.Attestation.TLSKey
	if !bytes.Equal(rd[:], f.verdict.ReportData) {
		refusal := vm.Refuse(vm.CodeReportData, "the quote is not about the claims beside it").
			On("report_data", hex.EncodeToString(f.verdict.ReportData), hex.EncodeToString(rd[:])).
			Try("the certificate was put together from parts of others")
		return fails("connection", refusal), fails("fresh", refusal)
	}
	fresh = fact("fresh", "not checked: a certificate answers no random number", "")
	switch {
	case f.answer.TLSKey.IsZero():
		return fact("connection", "not checked: the certificate's key is the machine's, compare it yourself", "key sha256 %s", key), fresh
	case f.answer.TLSKey != key:
		return fails("connection", f.relayed()), fresh
	case f.answer.Recorded:
		return holds("connection", "the recorded TLS connection ended in the attested VM", "certificate bound, key sha256 %s", short(key)), fresh
	}
	return holds("connection", "this TLS connection ends in the attested VM", "certificate bound, key sha256 %s", short(key)), fresh
}
