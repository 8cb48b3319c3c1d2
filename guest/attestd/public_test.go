package attestd

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/guest/certificate"
	"github.com/secretvm/secretvm/vm"
)

// authority signs whatever is asked for.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{key: key, cert: &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}}
	der, err := x509.CreateCertificate(rand.Reader, a.cert, a.cert, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return a
}

// sign gives a chain for key that lapses after life.
func (a *authority) sign(t *testing.T, key any, life time.Duration, names ...string) [][]byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: names, NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(life),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, a.cert, key, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return [][]byte{der, a.cert.Raw}
}

// TestA2_PublicCertificateIsForTheKeyOfTheBoot: whichever certificate a client
// is shown, the key is the one that every quote names.
func TestA2_PublicCertificateIsForTheKeyOfTheBoot(t *testing.T) {
	s, url, _ := serve(t, testOptions(t))
	a := newAuthority(t)
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	csr, err := s.opt.Key.Request([]string{"app.example.org"})
	if err != nil {
		t.Fatal(err)
	}
	request, err := x509.ParseCertificateRequest(csr)
	if err != nil || request.CheckSignature() != nil || request.DNSNames[0] != "app.example.org" {
		t.Fatalf("request is for %v, %v", request, err)
	}
	shown := func(name string, check bool) (*x509.Certificate, error) {
		c, err := tls.Dial("tcp", strings.TrimPrefix(url, "https://"), &tls.Config{ServerName: name, RootCAs: roots, InsecureSkipVerify: !check})
		if err != nil {
			return nil, err
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0], nil
	}
	if _, err := shown("app.example.org", true); err == nil {
		t.Error("a browser takes the machine's own certificate")
	}
	if err := s.Install(a.sign(t, request.PublicKey, time.Hour, "app.example.org")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		public bool
	}{{"app.example.org", true}, {"APP.example.org", true}, {"other.example.org", false}, {"", false}} {
		leaf, err := shown(c.name, c.public)
		if err != nil {
			t.Errorf("%q: %v", c.name, err)
			continue
		}
		if vm.HashOf(leaf.RawSubjectPublicKeyInfo) != s.TLSKey() {
			t.Errorf("%q: another key than the quotes name", c.name)
		}
		if own := leaf.Issuer.CommonName != "authority"; own == c.public {
			t.Errorf("%q: shown a certificate by %s", c.name, leaf.Issuer.CommonName)
		}
	}
	if err := s.Install(a.sign(t, request.PublicKey, -time.Second, "app.example.org")); err != nil {
		t.Fatal(err)
	}
	if leaf, err := shown("app.example.org", false); err != nil || leaf.Issuer.CommonName == "authority" {
		t.Errorf("a certificate that has lapsed is shown: %v", err)
	}
}

// TestA7_CertificateForAnotherKey: a chain for a key that is not this boot's is
// refused, be it the workload's.
func TestA7_CertificateForAnotherKey(t *testing.T) {
	s, _, _ := serve(t, testOptions(t))
	a := newAuthority(t)
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Install(a.sign(t, &other.PublicKey, time.Hour, "app.example.org")); err == nil || !strings.Contains(err.Error(), "another key") {
		t.Errorf("Install: %v", err)
	}
	if s.Install([][]byte{{1}}) == nil || s.key.public != nil {
		t.Error("garbage was installed")
	}
}

func TestStatusOfCertificates(t *testing.T) {
	for _, open := range [][]string{{"metrics"}, {"logs", "metrics"}} {
		opt := testOptions(t, open...)
		lapses := time.Unix(1800000000, 0).UTC()
		opt.Status = func() Status {
			return Status{TLS: &certificate.Status{
				Names: []string{"app.example.org"}, CA: "https://ca.example/directory", Account: "https://ca.example/acct/1",
				CAA: []string{`app.example.org. CAA 0 issue "ca.example"`},
				Certificates: []certificate.Shown{
					{Of: "workload", Public: true, Key: vm.Hash{1}, Issuer: "R1", NotAfter: lapses},
					{Of: "attestation", Error: "name of a host"},
				},
			}}
		}
		_, url, client := serve(t, opt)
		_, body := get(t, client, url+"/status")
		said := "the machine's logs say why"
		if len(open) > 1 {
			said = "name of a host"
		}
		for _, want := range []string{
			`"tls":{"names":["app.example.org"],"ca":"https://ca.example/directory","account":"https://ca.example/acct/1","caa":["app.example.org. CAA 0 issue \"ca.example\""]`,
			`"public":true,"key":"01`, `"not_after":"2027-01-15T08:00:00Z"}`, `{"of":"attestation","public":false,"error":"` + said + `"}`,
		} {
			if !strings.Contains(body, want) {
				t.Errorf("%v: %s\nwant %s", open, body, want)
			}
		}
		_, metrics := get(t, client, url+"/metrics")
		if !strings.Contains(metrics, "secretvm_certificate_not_after_seconds{of=\"workload\"} 1800000000\n") || strings.Contains(metrics, `of="attestation"`) {
			t.Errorf("metrics are %s", metrics)
		}
	}
}
