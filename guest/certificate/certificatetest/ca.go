// Package certificatetest runs a certificate authority for tests: Pebble, the
// one that Let's Encrypt tests clients with, in this process and on loopback,
// with a DNS in which every name is loopback's.
package certificatetest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/letsencrypt/challtestsrv"
	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
)

// Identity is the name of the authority in CAA records.
const Identity = "ca.example.net"

// Options says how an authority differs from others.
type Options struct {
	Life              time.Duration // of its certificates; 0: 90 days
	HTTPPort, TLSPort int           // where it asks names; 0: any free port
	WantsAccount      bool          // that was opened beforehand (external account binding)
	Front             func(next http.Handler) http.Handler
}

// CA is an authority.
type CA struct {
	URL               string // of its directory
	Roots             string // PEM: who vouches for that URL's server
	HTTPPort, TLSPort int    // where it asks names
	DNS               string // address of the DNS, TCP and UDP
	Orders, Accounts  atomic.Int32

	records atomic.Pointer[[]string] // CAA; nil: none
	t       testing.TB
	issuer  *ca.CAImpl
	handler http.Handler
	config  *tls.Config
	address string
	server  *http.Server
}

// Start runs an authority until the test ends. Tests that use it do not run in
// parallel: Pebble takes settings from the environment.
func Start(t *testing.T, o Options) *CA {
	t.Helper()
	t.Setenv("PEBBLE_VA_NOSLEEP", "1")
	c := &CA{t: t, HTTPPort: o.HTTPPort, TLSPort: o.TLSPort, address: "127.0.0.1:0"}
	for _, port := range []*int{&c.HTTPPort, &c.TLSPort} {
		if *port == 0 {
			*port = freePort(t)
		}
	}
	c.DNS = net.JoinHostPort("127.0.0.1", strconv.Itoa(freePort(t)))
	quiet := log.New(io.Discard, "", 0)
	names, err := challtestsrv.New(challtestsrv.Config{DNSAddrs: []string{c.DNS}, Log: quiet})
	c.must(err)
	names.SetDefaultDNSIPv4("127.0.0.1")
	names.SetDefaultDNSIPv6("")
	go names.Run()
	t.Cleanup(names.Shutdown)
	store := db.NewMemoryStore()
	profile := ca.Profile{Description: "test", ValidityPeriod: uint64(o.Life / time.Second)}
	c.issuer = ca.New(quiet, store, "", "ecdsa", 0, 1, map[string]ca.Profile{"default": profile})
	validator := va.New(quiet, c.HTTPPort, c.TLSPort, true, c.DNS, store)
	front := wfe.New(quiet, store, validator, c.issuer, []string{Identity}, true, o.WantsAccount, 1, 1)
	c.handler = c.enforceCAA(c.count(front.Handler()))
	if o.Front != nil {
		c.handler = o.Front(c.handler)
	}
	c.certify()
	c.Up()
	t.Cleanup(c.Down)
	return c
}

// certify gives the authority's server a certificate of its own.
func (c *CA) certify() {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	c.must(err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "the authority's server"}, IsCA: true, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv4(10, 0, 2, 2)}, // QEMU's guests see loopback as the latter
		NotBefore:   time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	c.must(err)
	c.Roots = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	c.config = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// Up lets the authority answer, at the address that it had.
func (c *CA) Up() {
	l, err := net.Listen("tcp", c.address)
	c.must(err)
	c.address = l.Addr().String()
	c.URL = "https://" + c.address + wfe.DirectoryPath
	server := &http.Server{Handler: c.handler, TLSConfig: c.config.Clone(), ErrorLog: log.New(io.Discard, "", 0)}
	go func() { _ = server.ServeTLS(l, "", "") }() // until Down
	c.server = server
}

// Down makes the authority unreachable. It forgets nothing.
func (c *CA) Down() { _ = c.server.Close() }

// Pool is what browsers would trust.
func (c *CA) Pool() *x509.CertPool {
	root, err := x509.ParseCertificate(c.issuer.GetRootCert(0).DER)
	c.must(err)
	pool := x509.NewCertPool()
	pool.AddCert(root)
	return pool
}

// Resolver asks the DNS in which every name is loopback's.
func (c *CA) Resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", c.DNS)
	}}
}

// count counts orders, and accounts that were opened.
func (c *CA) count(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := &status{ResponseWriter: w}
		next.ServeHTTP(s, r)
		switch {
		case s.code != http.StatusCreated:
		case r.URL.Path == "/order-plz":
			c.Orders.Add(1)
		case r.URL.Path == "/sign-me-up":
			c.Accounts.Add(1)
		}
	})
}

type status struct {
	http.ResponseWriter
	code int
}

func (s *status) WriteHeader(code int) {
	s.code = code
	s.ResponseWriter.WriteHeader(code)
}

func (c *CA) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
