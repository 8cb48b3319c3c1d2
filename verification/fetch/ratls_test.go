package fetch_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/verification"
	"github.com/secretvm/secretvm/verification/fetch"
	"github.com/secretvm/secretvm/verification/machinetest"
	"github.com/secretvm/secretvm/vm"
)

// certificate makes one with evidence by m about the key that claims name.
func certificate(t *testing.T, m *machinetest.Machine, change func(claims []byte, evidence *[]byte)) (tls.Certificate, *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	events := `[]`
	if len(m.Events) > 0 {
		events = string(encoded(t, m.Events))
	}
	claims := vm.CertificateClaims(vm.HashOf(spki), []byte(events))
	ev, err := m.Quote(t.Context(), vm.ClaimsReportData(claims))
	if err != nil {
		t.Fatal(err)
	}
	evidence := vm.CertificateEvidence(ev.TEE, ev.Quote, claims)
	if change != nil {
		change(claims, &evidence)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), Subject: pkix.Name{CommonName: "workload"},
		ExtraExtensions: []pkix.Extension{{Id: vm.OIDEvidence, Value: evidence}},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, leaf
}

// collateral puts a machine's collateral beside evidence, as verify finds it.
func collateral(t *testing.T, m *machinetest.Machine, a *verification.Answer) {
	t.Helper()
	ev, err := m.Quote(t.Context(), [64]byte{})
	if err != nil {
		t.Fatal(err)
	}
	a.Attestation.Evidence.Collateral = ev.Collateral
}

// TestCertificateOfAWorkload: whatever speaks TLS with such a certificate can be
// verified, with no attestation service behind it.
func TestCertificateOfAWorkload(t *testing.T) {
	m := machinetest.Boot(t)
	pair, leaf := certificate(t, m, nil)
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	s.StartTLS()
	defer s.Close()
	a, err := fetch.Any(t.Context(), address(t, s.URL))
	if err != nil {
		t.Fatal(err)
	}
	collateral(t, m, &a)
	want := everything(m)
	want.Service, want.GroupKey = "", ""
	r := verification.Appraise(a, want)
	if c := r.Check("connection"); r.Verdict != verification.Verified || c.OK != verification.Holds || !strings.HasPrefix(c.Detail, "certificate bound") {
		t.Errorf("%s: %s; %+v", r.Verdict, r.Summary, r.Checks)
	}
	if c := r.Check("fresh"); c.OK != verification.Open {
		t.Errorf("a certificate is fresh: %+v", c)
	}
	if r := verification.Appraise(a, everything(m)); r.Verdict != verification.NotVerified || r.Check("configuration").OK != verification.Fails {
		t.Errorf("a service that nobody can compare: %s: %s", r.Verdict, r.Summary)
	}
	var kept bytes.Buffer
	if err := verification.WriteBundle(&kept, a, want, r); err != nil {
		t.Fatal(err)
	}
	again, recorded, err := verification.OpenBundle(kept.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	recorded.Roots = m.Roots()
	if r := verification.Appraise(again, recorded); r.Verdict != verification.Verified {
		t.Errorf("from a bundle: %s: %s", r.Verdict, r.Summary)
	}
	for name, file := range map[string][]byte{"DER": leaf.Raw, "PEM": append([]byte("subject=workload\n"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw})...)} {
		a, form, err := verification.Recognise(file)
		if err != nil || form != verification.FormCertificate {
			t.Fatalf("%s: %s, %v", name, form, err)
		}
		collateral(t, m, &a)
		r := verification.Appraise(a, want)
		if c := r.Check("connection"); r.Verdict != verification.Verified || c.OK != verification.Open || !strings.Contains(c.Detail, vm.HashOf(leaf.RawSubjectPublicKeyInfo).String()) {
			t.Errorf("%s: %s: %s; connection %+v", name, r.Verdict, r.Summary, c)
		}
	}
}

// TestA3_CertificatesOfOthers: evidence about another key, or changed claims,
// show nothing.
func TestA3_CertificatesOfOthers(t *testing.T) {
	m := machinetest.Boot(t)
	_, genuine := certificate(t, m, nil)
	var copied []byte
	for _, e := range genuine.Extensions {
		if e.Id.Equal(vm.OIDEvidence) {
			copied = e.Value
		}
	}
	for _, c := range []struct {
		name   string
		change func(claims []byte, evidence *[]byte)
		code   vm.Code
	}{
		{"copied from another certificate", func(_ []byte, evidence *[]byte) { *evidence = copied }, vm.CodeReportData},
		{"garbage", func(_ []byte, evidence *[]byte) { *evidence = []byte("garbage") }, vm.CodeMalformed},
		{"events are no JSON", func(_ []byte, evidence *[]byte) {
			*evidence = bytes.Replace(*evidence, []byte(`[{"`), []byte(`{{"`), 1)
		}, vm.CodeMalformed},
	} {
		_, leaf := certificate(t, m, c.change)
		if _, err := verification.CertificateAnswer(leaf); vm.CodeOf(err) != c.code {
			t.Errorf("%s: %v, want %s", c.name, err, c.code)
		}
	}
	// Claims about the right key beside a quote over others.
	_, leaf := certificate(t, m, func(claims []byte, evidence *[]byte) {
		other, err := m.Quote(t.Context(), [64]byte{1})
		if err != nil {
			t.Fatal(err)
		}
		*evidence = vm.CertificateEvidence(vm.TDX, other.Quote, claims)
	})
	a, err := verification.CertificateAnswer(leaf)
	if err != nil {
		t.Fatal(err)
	}
	collateral(t, m, &a)
	if r := verification.Appraise(a, everything(m)); r.Verdict != verification.NotVerified || r.Check("connection").Code != vm.CodeReportData {
		t.Errorf("claims without a quote: %s: %+v", r.Verdict, r.Check("connection"))
	}
	// A connection with another key than the certificate that was shown.
	a, err = verification.CertificateAnswer(genuine)
	if err != nil {
		t.Fatal(err)
	}
	collateral(t, m, &a)
	a.TLSKey = vm.HashOf([]byte("another"))
	if r := verification.Appraise(a, everything(m)); r.Verdict != verification.NotVerified || r.Check("connection").Code != vm.CodeReportData {
		t.Errorf("another key on the connection: %s: %+v", r.Verdict, r.Check("connection"))
	}
}

func FuzzCertificateAnswer(f *testing.F) {
	f.Add([]byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"))
	f.Add([]byte{0x30, 0x03, 0x02, 0x01, 0x01})
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _, _ = verification.Recognise(b)
		_, _ = verification.CertificateAnswer(&x509.Certificate{Extensions: []pkix.Extension{{Id: vm.OIDEvidence, Value: b}}})
	})
}

func encoded(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
