package ocsp_test

import (
	"crypto"
	"crypto/x509"
	"errors"
	"slices"
	"testing"
	"time"

	reference "golang.org/x/crypto/ocsp"

	"github.com/secretvm/secretvm/attest/nvidia/nvidiatest"
	"github.com/secretvm/secretvm/attest/nvidia/ocsp"
	"github.com/secretvm/secretvm/attest/nvidia/pki"
	"github.com/secretvm/secretvm/vm"
)

var now = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

type bed struct {
	*nvidiatest.PKI
	chain []*x509.Certificate // signer, CA, root
}

func newBed(t testing.TB) bed {
	t.Helper()
	p, err := nvidiatest.New(now)
	if err != nil {
		t.Fatal(err)
	}
	return bed{p, []*x509.Certificate{p.RIMSigner.Cert, p.RIMCA.Cert, p.RIMRoot.Cert}}
}

func (b bed) answer(t testing.TB, status int, responder *nvidiatest.Credential) []byte {
	t.Helper()
	der, err := b.Answer(b.RIMSigner.Cert, b.RIMCA, status, responder)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func about(der []byte, at time.Time, chain []*x509.Certificate, stale time.Duration) (ocsp.Status, error) {
	r, err := ocsp.Parse(der)
	if err != nil {
		return ocsp.Status{}, err
	}
	return r.About(pki.NewChecker(at), chain, stale)
}

func TestStatus(t *testing.T) {
	b := newBed(t)
	responder, err := b.Responder(b.RIMRoot)
	if err != nil {
		t.Fatal(err)
	}
	for status, want := range map[int]ocsp.Status{
		nvidiatest.Good: {Good: true}, nvidiatest.Revoked: {Revoked: true}, nvidiatest.Hold: {Revoked: true, Hold: true}, nvidiatest.Unknown: {},
	} {
		for _, by := range []*nvidiatest.Credential{nil, &responder} {
			if got, err := about(b.answer(t, status, by), now, b.chain, 0); err != nil || got != want {
				t.Errorf("status %d is read as %+v (%v), want %+v", status, got, err, want)
			}
		}
	}
}

// TestNames: clients ask for certificates by digests of their choice.
func TestNames(t *testing.T) {
	b := newBed(t)
	for hash, known := range map[crypto.Hash]bool{crypto.SHA1: true, crypto.SHA256: true, crypto.SHA384: true, crypto.SHA512: false} {
		der, err := reference.CreateResponse(b.RIMCA.Cert, b.RIMCA.Cert, reference.Response{
			SerialNumber: b.chain[0].SerialNumber, IssuerHash: hash, ThisUpdate: now, NextUpdate: now.Add(time.Hour),
			SignatureAlgorithm: x509.ECDSAWithSHA384,
		}, b.RIMCA.Key)
		if err != nil {
			t.Fatal(err)
		}
		if s, err := about(der, now, b.chain, 0); s.Good != known || (err == nil) != known {
			t.Errorf("by %v: %+v, %v", hash, s, err)
		}
	}
}

func TestRefused(t *testing.T) {
	b := newBed(t)
	good := b.answer(t, nvidiatest.Good, nil)
	other := newBed(t)
	responder, err := b.Responder(b.RIMCA)
	if err != nil {
		t.Fatal(err)
	}
	expired := nvidiatest.Template(now.AddDate(0, -2, 0), "responder", false)
	expired.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}
	for _, row := range []struct {
		name  string
		der   []byte
		at    time.Time
		chain []*x509.Certificate
		want  vm.Code
	}{
		{"early", good, now.AddDate(0, 0, -2), b.chain, vm.CodeExpired},
		{"late", good, now.AddDate(0, 0, 7), b.chain, vm.CodeExpired},
		{"about another certificate", good, now, b.chain[1:], vm.CodeCollateral},
		{"expired responder", b.issued(t, expired, b.RIMCA), now, b.chain, vm.CodeExpired},
		{"responder without the purpose", b.issued(t, nvidiatest.Template(now, "x", false), b.RIMCA), now, b.chain, vm.CodeChain},
		{"responder of another root", b.issued(t, expired, b.DeviceRoot), now, b.chain, vm.CodeChain},
		{"in the issuer's name", b.forged(t, nil), now, b.chain, vm.CodeSignature},
		{"in a responder's name", b.forged(t, &responder), now, b.chain, vm.CodeSignature},
		{"by nobody that is named", b.answerOf(t, other.RIMCA), now, b.chain, vm.CodeCollateral},
		{"empty", nil, now, b.chain, vm.CodeMalformed},
		{"trailing", append(slices.Clone(good), 0), now, b.chain, vm.CodeMalformed},
		{"refusal of the responder", []byte{0x30, 3, 0x0a, 1, 6}, now, b.chain, vm.CodeMalformed},
		{"too large", make([]byte, 20<<10), now, b.chain, vm.CodeTooLarge},
	} {
		_, err := about(row.der, row.at, row.chain, 0)
		var r *vm.Refusal
		if !errors.As(err, &r) || r.Code != row.want {
			t.Errorf("%s: %v, want %s", row.name, err, row.want)
		}
	}
	if _, err := about(good, now.AddDate(0, 0, 7), b.chain, 48*time.Hour); err != nil {
		t.Errorf("late within the allowance: %v", err)
	}
}

// forged is a good answer in the name of the issuer or of a responder, signed
// with another key.
func (b bed) forged(t *testing.T, responder *nvidiatest.Credential) []byte {
	t.Helper()
	issuer := b.RIMCA
	if responder != nil {
		responder = &nvidiatest.Credential{Cert: responder.Cert, Key: b.Service.Key}
	} else {
		issuer.Key = b.Service.Key
	}
	return b.signedBy(t, issuer, responder)
}

// answerOf is a good answer of another CA.
func (b bed) answerOf(t *testing.T, issuer nvidiatest.Credential) []byte {
	t.Helper()
	return b.signedBy(t, issuer, nil)
}

func (b bed) signedBy(t *testing.T, issuer nvidiatest.Credential, responder *nvidiatest.Credential) []byte {
	t.Helper()
	der, err := b.Answer(b.RIMSigner.Cert, issuer, nvidiatest.Good, responder)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// issued is a good answer by a responder with the given certificate.
func (b bed) issued(t *testing.T, template *x509.Certificate, issuer nvidiatest.Credential) []byte {
	t.Helper()
	responder, err := b.Issue(template, &issuer)
	if err != nil {
		t.Fatal(err)
	}
	// The other implementation checks nothing about the responder.
	return b.answer(t, nvidiatest.Good, &responder)
}

// TestEveryByteCounts flips bytes all over an answer. What may change unnoticed
// changes no fact: it is outside the signature (the status of the transport,
// the form of the signature's algorithm).
func TestEveryByteCounts(t *testing.T) {
	b := newBed(t)
	der := b.answer(t, nvidiatest.Revoked, nil)
	for i := 0; i < len(der); i += 3 {
		der[i] ^= 1
		if s, err := about(der, now, b.chain, 0); err == nil && (s != ocsp.Status{Revoked: true}) {
			t.Errorf("byte %d turns a revocation into %+v", i, s)
		}
		der[i] ^= 1
	}
}

// TestRequest lets another implementation read what is asked.
func TestRequest(t *testing.T) {
	b := newBed(t)
	der, err := ocsp.Request(b.chain[0], b.chain[1])
	if err != nil {
		t.Fatal(err)
	}
	got, err := reference.ParseRequest(der)
	if err != nil || got.HashAlgorithm != crypto.SHA384 || got.SerialNumber.Cmp(b.chain[0].SerialNumber) != 0 {
		t.Fatalf("request is read as %+v, %v", got, err)
	}
	want, err := reference.CreateRequest(b.chain[0], b.chain[1], &reference.RequestOptions{Hash: crypto.SHA384})
	if err != nil {
		t.Fatal(err)
	}
	other, err := reference.ParseRequest(want)
	if err != nil || !slices.Equal(got.IssuerKeyHash, other.IssuerKeyHash) || !slices.Equal(got.IssuerNameHash, other.IssuerNameHash) {
		t.Errorf("request names the issuer otherwise than another implementation does (%v)", err)
	}
}

func FuzzParse(f *testing.F) {
	b := newBed(f)
	f.Add(b.answer(f, nvidiatest.Good, nil))
	f.Add(b.answer(f, nvidiatest.Hold, nil))
	responder, err := b.Responder(b.RIMCA)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b.answer(f, nvidiatest.Revoked, &responder))
	other := newBed(f).chain
	f.Fuzz(func(t *testing.T, der []byte) {
		r, err := ocsp.Parse(der)
		if err != nil {
			if vm.CodeOf(err) == vm.CodeInternal {
				t.Fatalf("no refusal: %v", err)
			}
			return
		}
		if s, err := r.About(pki.NewChecker(now), other, 0); err == nil {
			t.Fatalf("an answer below another root says %+v", s)
		}
	})
}
