package pki_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/attest/tdx"
	"github.com/secretvm/secretvm/attest/tdx/pki"
	"github.com/secretvm/secretvm/vm"
)

var now = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)

var sample = pki.Extensions{
	PPID: [16]byte{1, 2}, SVN: [16]int{1, 2, 3, 255, 4: 200}, PCESVN: 300, CPUSVN: [16]byte{9}, PCEID: [2]byte{0, 1}, FMSPC: [6]byte{0xb0, 0xc0}, SGXType: 1,
	PlatformInstance: [16]byte{7}, Configuration: [3]bool{true, false, true},
}

func certWith(t testing.TB, value []byte) *x509.Certificate {
	t.Helper()
	return &x509.Certificate{Extensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 840, 113741, 1, 13, 1}, Value: value}}}
}

func TestExtensionsRoundTrip(t *testing.T) {
	ext, err := sample.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	got, err := pki.ParseExtensions(certWith(t, ext.Value))
	if err != nil || got != sample {
		t.Errorf("ParseExtensions = %+v, %v, want %+v", got, err, sample)
	}
	single := sample // a platform that the Processor CA certifies
	single.PlatformInstance, single.Configuration = [16]byte{}, [3]bool{}
	if ext, err = single.Marshal(); err != nil {
		t.Fatal(err)
	}
	if got, err := pki.ParseExtensions(certWith(t, ext.Value)); err != nil || got != single {
		t.Errorf("ParseExtensions = %+v, %v, want %+v", got, err, single)
	}
}

// TestExtensionsOfIntel reads a genuine PCK certificate, whose values were
// read with openssl asn1parse.
func TestExtensionsOfIntel(t *testing.T) {
	const file = "../../../../shared/vectors/dcap-qvl/sample/tdx_quote"
	b, err := os.ReadFile(file)
	if os.IsNotExist(err) {
		t.Skipf("independent vectors are not there (%s): skipped", file)
	}
	q, err := tdx.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	certs, err := pki.ParsePEM("chain", q.Signature.PCKChain)
	if err != nil || len(certs) != 3 {
		t.Fatalf("%d certificates, %v", len(certs), err)
	}
	got, err := pki.ParseExtensions(certs[0])
	want := pki.Extensions{
		PPID:   [16]byte(unhex(t, "811dca2a26b952e85bb6448b097ba4fd")),
		SVN:    [16]int{3, 3, 2, 2, 4, 1, 0, 5},
		PCESVN: 11, CPUSVN: [16]byte{3, 3, 2, 2, 4, 1, 0, 5}, FMSPC: [6]byte{0xb0, 0xc0, 0x6f}, SGXType: 1,
		PlatformInstance: [16]byte(unhex(t, "07828474603e7019dc930775ffe8cdd2")), Configuration: [3]bool{true, true, true},
	}
	if err != nil || got != want {
		t.Errorf("ParseExtensions = %+v, %v, want %+v", got, err, want)
	}
}

func TestExtensionsErrors(t *testing.T) {
	ext, err := sample.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	sgx := []byte{0x2a, 0x86, 0x48, 0x86, 0xf8, 0x4d, 0x01, 0x0d, 0x01}
	replace := func(from, to []byte) []byte {
		out := bytes.Replace(ext.Value, from, to, 1)
		if bytes.Equal(out, ext.Value) {
			t.Fatalf("%x does not occur in %x", from, ext.Value)
		}
		return out
	}
	id := func(n ...byte) []byte { return append(append([]byte{}, sgx...), n...) }
	for _, row := range []struct {
		name  string
		value []byte
		want  string
	}{
		{"empty", nil, "not one SEQUENCE"},
		{"trailing", append(ext.Value[:len(ext.Value):len(ext.Value)], 5, 0), "not one SEQUENCE"},
		{"field twice", replace(id(3), id(4)), "twice"},
		{"field missing", replace(id(4), id(9)), "13.1.4 is missing"},
		{"component missing", replace(id(2, 5), id(2, 25)), "2.5 is missing"},
		{"component twice", replace(id(2, 5), id(2, 6)), "twice"},
		{"negative", replace(append(id(2, 4), 2, 2, 0, 0xff), append(id(2, 4), 2, 2, 0xff, 0)), "2.4 is missing or not"},
		{"FMSPC is no string", replace(append(id(4), 4, 6), append(id(4), 12, 6)), "13.1.4 is missing or not"},
		{"flag is no boolean", replace(append(id(7, 2), 1, 1), append(id(7, 2), 2, 1)), "7.2 is not a BOOLEAN"},
		{"type is no enumeration", replace(append(id(5), 10), append(id(5), 2)), "SGX type"},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := pki.ParseExtensions(certWith(t, row.value))
			if err == nil || vm.CodeOf(err) != vm.CodeMalformed || !strings.Contains(err.Error(), row.want) {
				t.Errorf("ParseExtensions = %v, want %q", err, row.want)
			}
		})
	}
	if _, err := pki.ParseExtensions(&x509.Certificate{}); vm.CodeOf(err) != vm.CodeMalformed {
		t.Errorf("certificate without the extension: %v", err)
	}
}

// issue makes a certificate of its own key, signed by parent's.
func issue(t *testing.T, change func(*x509.Certificate), parent *x509.Certificate, parentKey *ecdsa.PrivateKey, curve elliptic.Curve) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "leaf"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
	}
	change(template)
	if parent == nil {
		parent, parentKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

func asCA(name string, depth int) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.Subject.CommonName, c.IsCA, c.KeyUsage = name, true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign
		c.MaxPathLen, c.MaxPathLenZero = depth, depth == 0
	}
}

func TestChain(t *testing.T) {
	p256 := elliptic.P256()
	root, rootKey := issue(t, asCA("root", 1), nil, nil, p256)
	ca, caKey := issue(t, asCA("ca", 0), root, rootKey, p256)
	leaf, _ := issue(t, func(*x509.Certificate) {}, ca, caKey, p256)
	noCA, noCAKey := issue(t, func(c *x509.Certificate) { c.Subject.CommonName = "ca" }, root, rootKey, p256)
	underNoCA, _ := issue(t, func(*x509.Certificate) {}, noCA, noCAKey, p256)
	deepCA, deepKey := issue(t, asCA("deep", 0), ca, caKey, p256)
	deep, _ := issue(t, func(*x509.Certificate) {}, deepCA, deepKey, p256)
	old, _ := issue(t, func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Second) }, ca, caKey, p256)
	early, _ := issue(t, func(c *x509.Certificate) { c.NotBefore = now.Add(time.Second) }, ca, caKey, p256)
	big384, _ := issue(t, func(*x509.Certificate) {}, ca, caKey, elliptic.P384())
	impostor, _ := issue(t, asCA("root", 1), nil, nil, p256)
	otherCA, otherKey := issue(t, asCA("ca", 0), root, rootKey, p256)
	forged, _ := issue(t, func(*x509.Certificate) {}, otherCA, otherKey, p256)
	for _, row := range []struct {
		name  string
		chain []*x509.Certificate
		want  vm.Code
	}{
		{"sound", []*x509.Certificate{leaf, ca, root}, ""},
		{"CA alone", []*x509.Certificate{ca, root}, ""},
		{"root alone", []*x509.Certificate{root}, vm.CodeChain},
		{"root of the same name", []*x509.Certificate{leaf, ca, impostor}, vm.CodeChain},
		{"order", []*x509.Certificate{ca, leaf, root}, vm.CodeChain},
		{"root first", []*x509.Certificate{root, ca, leaf}, vm.CodeChain},
		{"CA left out", []*x509.Certificate{leaf, root}, vm.CodeChain},
		{"issuer is no CA", []*x509.Certificate{underNoCA, noCA, root}, vm.CodeChain},
		{"too deep", []*x509.Certificate{deep, deepCA, ca, root}, vm.CodeChain},
		{"expired", []*x509.Certificate{old, ca, root}, vm.CodeExpired},
		{"not yet valid", []*x509.Certificate{early, ca, root}, vm.CodeExpired},
		{"P-384 key", []*x509.Certificate{big384, ca, root}, vm.CodeMalformed},
		{"signed by another key", []*x509.Certificate{forged, ca, root}, vm.CodeSignature},
	} {
		t.Run(row.name, func(t *testing.T) {
			check := pki.NewChecker([]*x509.Certificate{root}, now)
			found, err := check.Chain("chain", row.chain)
			switch {
			case row.want == "" && (err != nil || found != root || !check.Until().Equal(leaf.NotAfter)):
				t.Errorf("Chain = %v, %v, until %v", found, err, check.Until())
			case row.want != "" && (err == nil || vm.CodeOf(err) != row.want):
				t.Errorf("Chain = %v, want %s", err, row.want)
			}
		})
	}
}

// TestChainMemory: bytes that were verified below one key are not taken as
// verified below another.
func TestChainMemory(t *testing.T) {
	root, rootKey := issue(t, asCA("root", 1), nil, nil, elliptic.P256())
	other, _ := issue(t, asCA("root", 1), nil, nil, elliptic.P256())
	leaf, _ := issue(t, func(*x509.Certificate) {}, root, rootKey, elliptic.P256())
	check := pki.NewChecker([]*x509.Certificate{root, other}, now)
	for range 2 {
		if _, err := check.Chain("chain", []*x509.Certificate{leaf, root}); err != nil {
			t.Fatal(err)
		}
		if _, err := check.Chain("chain", []*x509.Certificate{leaf, other}); vm.CodeOf(err) != vm.CodeSignature {
			t.Fatalf("below another root of the same name: %v", err)
		}
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// FuzzParsePEM: what is accepted is one to three certificates, nothing else.
func FuzzParsePEM(f *testing.F) {
	root, err := os.ReadFile("../../intel_sgx_root_ca.pem")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(root)
	f.Add(append(append([]byte{}, root...), root...))
	f.Add(append([]byte("x"), root...))
	if b, err := os.ReadFile("../../../../shared/vectors/dcap-qvl/sample/tdx_quote"); err == nil {
		q, err := tdx.Decode(b)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(q.Signature.PCKChain)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		certs, err := pki.ParsePEM("bundle", b)
		if err != nil {
			if vm.CodeOf(err) == vm.CodeInternal {
				t.Errorf("error without a code: %v", err)
			}
			return
		}
		if len(certs) < 1 || len(certs) > 3 {
			t.Errorf("%d certificates", len(certs))
		}
		var again bytes.Buffer
		for _, c := range certs {
			pem.Encode(&again, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
		}
		if _, err := pki.ParsePEM("bundle", again.Bytes()); err != nil {
			t.Errorf("what was accepted is not, written again: %v", err)
		}
	})
}

// FuzzParseExtensions: what is accepted keeps its meaning through Marshal.
func FuzzParseExtensions(f *testing.F) {
	ext, err := sample.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(ext.Value)
	single := sample
	single.PlatformInstance, single.Configuration = [16]byte{}, [3]bool{}
	if ext, err = single.Marshal(); err != nil {
		f.Fatal(err)
	}
	f.Add(ext.Value)
	f.Fuzz(func(t *testing.T, value []byte) {
		got, err := pki.ParseExtensions(certWith(t, value))
		if err != nil || got.PlatformInstance == [16]byte{} {
			return // flags without a platform instance are not written
		}
		again, err := got.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if back, err := pki.ParseExtensions(certWith(t, again.Value)); err != nil || back != got {
			t.Errorf("%+v became %+v, %v", got, back, err)
		}
	})
}
