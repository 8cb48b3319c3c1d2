package fetch_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/guest/attestation"
	"github.com/secretvm/secretvm/guest/attestd"
	keep "github.com/secretvm/secretvm/guest/certificate"
	"github.com/secretvm/secretvm/guest/certificate/certificatetest"
	"github.com/secretvm/secretvm/verification"
	"github.com/secretvm/secretvm/verification/fetch"
	"github.com/secretvm/secretvm/verification/machinetest"
	"github.com/secretvm/secretvm/vm"
)

const publicName = "app.example.org"

// certify gets a certificate for publicName, as whoever answers at its address
// can, and returns when the holder has it.
func certify(t *testing.T, ca *certificatetest.CA, holder keep.Holder) {
	t.Helper()
	k, err := keep.New(keep.Options{
		Config:      vm.ACME{Names: []string{publicName}, CA: ca.URL, Roots: ca.Roots, Challenge: vm.ChallengeHTTP},
		Attestation: holder, Disk: t.TempDir(), Shared: filepath.Join(t.TempDir(), "tls"),
		Note: func(s string) { t.Log(s) },
		Listen: func(ctx context.Context) (net.Listener, error) {
			return new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(ca.HTTPPort)))
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	go k.Run(ctx)
	for !k.Status().Certificates[0].Public {
		if ctx.Err() != nil {
			t.Fatalf("no certificate: %+v", k.Status())
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// names makes every name of this process lead to loopback until the test ends,
// and returns a client that trusts what browsers would.
func names(t *testing.T, ca *certificatetest.CA) (browser *http.Client) {
	t.Helper()
	before := net.DefaultResolver
	net.DefaultResolver = ca.Resolver()
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.Pool()}}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		net.DefaultResolver = before
	})
	return &http.Client{Transport: transport}
}

// at is a URL with publicName in place of its address.
func at(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return "https://" + net.JoinHostPort(publicName, u.Port())
}

// TestPublicCertificate: a machine with a certificate of an authority is one
// for browsers and for verifiers alike, over the same connections.
func TestPublicCertificate(t *testing.T) {
	ca := certificatetest.Start(t, certificatetest.Options{})
	browser := names(t, ca)
	m := machinetest.Boot(t)
	s, own := m.Serve(t, nil)
	public := at(t, own)
	if resp, err := browser.Get(public + "/healthz"); err == nil {
		resp.Body.Close()
		t.Error("a browser takes the machine's own certificate")
	}
	certify(t, ca, &machineKey{m.Key, s})
	resp, err := browser.Get(public + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if vm.HashOf(resp.TLS.PeerCertificates[0].RawSubjectPublicKeyInfo) != s.TLSKey() {
		t.Error("the browser saw another key than the quotes name")
	}
	for _, where := range []string{public, own} { // the name, and the address with the machine's own certificate
		a, err := fetch.Fetch(t.Context(), address(t, where))
		if err != nil {
			t.Fatal(err)
		}
		r := verification.Appraise(a, everything(m))
		if r.Verdict != verification.Verified || !strings.HasPrefix(r.Check("connection").Detail, "exporter bound, key sha256 ") {
			t.Errorf("%s: %s: %s; connection: %+v", where, r.Verdict, r.Summary, r.Check("connection"))
		}
	}
}

// machineKey is the key of the boot, for which its attestation service shows
// certificates.
type machineKey struct {
	attestation.Key
	*attestd.Server
}

// impostor holds a key of its own.
type impostor struct {
	key   *ecdsa.PrivateKey
	chain [][]byte
}

func (i *impostor) Request(names []string) ([]byte, error) {
	return x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: names}, i.key)
}

func (i *impostor) Install(chain [][]byte) error { i.chain = chain; return nil }

// TestA7_RelayWithAPublicCertificate: a host that got a certificate for the name
// fools browsers, and no verifier.
func TestA7_RelayWithAPublicCertificate(t *testing.T) {
	ca := certificatetest.Start(t, certificatetest.Options{})
	browser := names(t, ca)
	m := machinetest.Boot(t)
	_, own := m.Serve(t, nil)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	host := &impostor{key: key}
	certify(t, ca, host)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer client.CloseIdleConnections()
	relay := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		resp, err := client.Get(own + r.URL.String())
		if err != nil {
			t.Error(err)
			return
		}
		defer resp.Body.Close()
		_, _ = io.Copy(w, resp.Body)
	}))
	relay.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: host.chain, PrivateKey: key}}}
	relay.StartTLS()
	defer relay.Close()
	if resp, err := browser.Get(at(t, relay.URL) + "/status"); err != nil {
		t.Errorf("the browser is not fooled, so this shows nothing: %v", err)
	} else {
		resp.Body.Close()
	}
	a, err := fetch.Fetch(t.Context(), address(t, at(t, relay.URL)))
	if err != nil {
		t.Fatal(err)
	}
	r := verification.Appraise(a, everything(m))
	if c := r.Check("connection"); r.Verdict != verification.NotVerified || c.OK != verification.Fails || c.Code != vm.CodeReportData {
		t.Errorf("%s, connection: %+v", r.Verdict, c)
	}
}
