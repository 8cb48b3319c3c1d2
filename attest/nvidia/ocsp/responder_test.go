package ocsp

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"testing"
	"time"

	"github.com/secretvm/secretvm/attest/nvidia/nvidiatest"
	"github.com/secretvm/secretvm/attest/nvidia/pki"
	"github.com/secretvm/secretvm/vm"
)

// TestResponderByKey: an answer may name its responder by the digest of the
// key, which the other implementation never does.
func TestResponderByKey(t *testing.T) {
	at := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	p, err := nvidiatest.New(at)
	if err != nil {
		t.Fatal(err)
	}
	chain := []*x509.Certificate{p.RIMSigner.Cert, p.RIMCA.Cert, p.RIMRoot.Cert}
	for _, row := range []struct {
		name  string
		named *x509.Certificate
		by    nvidiatest.Credential
		want  vm.Code
	}{
		{"issuer", p.RIMCA.Cert, p.RIMCA, ""},
		{"CA above", p.RIMRoot.Cert, p.RIMRoot, ""},
		{"another key in its name", p.RIMCA.Cert, p.Service, vm.CodeSignature},
		{"another CA", p.DeviceRoot.Cert, p.DeviceRoot, vm.CodeSignature},
	} {
		r, err := Parse(byKey(t, chain, at, row.named, row.by))
		if err != nil {
			t.Fatal(err)
		}
		s, err := r.About(pki.NewChecker(at), chain, 0)
		if row.want != "" && vm.CodeOf(err) != row.want || row.want == "" && (err != nil || !s.Good) {
			t.Errorf("%s: %+v, %v, want %q", row.name, s, err, row.want)
		}
	}
}

func byKey(t *testing.T, chain []*x509.Certificate, at time.Time, named *x509.Certificate, by nvidiatest.Credential) []byte {
	t.Helper()
	marshal := func(v any) []byte {
		der, err := asn1.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	name, err := identify(oidSHA1, named, named)
	if err != nil {
		t.Fatal(err)
	}
	id, err := identify(oidSHA384, chain[0], chain[1])
	if err != nil {
		t.Fatal(err)
	}
	data := marshal(responseData{
		Responder:  asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 2, IsCompound: true, Bytes: marshal(name.IssuerKey)},
		ProducedAt: at, Responses: []singleResponse{{ID: id, Good: true, ThisUpdate: at}},
	})
	digest := sha512.Sum384(data)
	signature, err := ecdsa.SignASN1(rand.Reader, by.Key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	basic := marshal(struct {
		Data      asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}{
		asn1.RawValue{FullBytes: data},
		pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 3}},
		asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)},
	})
	return marshal(response{Bytes: responseBytes{oidBasic, basic}})
}
