package certificate

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/secretvm/secretvm/guest/certificate/certificatetest"
	"github.com/secretvm/secretvm/vm"
)

var names = []string{"app.example.org", "www.example.org"}

// boot holds its key in memory, as the attestation service does.
type boot struct {
	key   *ecdsa.PrivateKey
	mu    sync.Mutex
	chain [][]byte
}

func newBoot(t *testing.T) *boot {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &boot{key: key}
}

func (b *boot) Request(names []string) ([]byte, error) {
	return x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: names}, b.key)
}

func (b *boot) Install(chain [][]byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.chain = chain
	return nil
}

// machine is one boot of a machine whose names lead to it.
type machine struct {
	*Keeper
	boot   *boot
	shared string

	mu    sync.Mutex
	notes []string
}

func start(t *testing.T, ca *certificatetest.CA, disk, challenge string) *machine {
	t.Helper()
	port := ca.HTTPPort
	if challenge == vm.ChallengeTLS {
		port = ca.TLSPort
	}
	m := &machine{boot: newBoot(t), shared: filepath.Join(t.TempDir(), "tls")}
	var err error
	m.Keeper, err = New(Options{
		Config:      vm.ACME{Names: names, CA: ca.URL, Roots: ca.Roots, Email: "owner@example.org", Challenge: challenge, Services: []string{"web"}},
		Attestation: m.boot, Disk: disk, Shared: m.shared,
		Listen: func(ctx context.Context) (net.Listener, error) {
			return new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		},
		Note: func(s string) { m.mu.Lock(); m.notes = append(m.notes, s); m.mu.Unlock() },
	})
	if err != nil {
		t.Fatal(err)
	}
	m.pause = time.Millisecond
	return m
}

// rounds runs n rounds, and frees the port for the next boot.
func (m *machine) rounds(t *testing.T, n int) (wait time.Duration) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	for range n {
		wait = m.round(ctx)
	}
	cancel()
	for m.serving.Load() {
		time.Sleep(time.Millisecond)
	}
	return wait
}

// pair is what containers find.
func (m *machine) pair(t *testing.T) *tls.Certificate {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(filepath.Join(m.shared, CertFile), filepath.Join(m.shared, KeyFile))
	if err != nil {
		t.Fatal(err)
	}
	return &pair
}

// trusted reports whether a browser takes the chain for the machine's names.
func trusted(t *testing.T, ca *certificatetest.CA, chain [][]byte) error {
	t.Helper()
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		t.Fatal(err)
	}
	between := x509.NewCertPool()
	for _, der := range chain[1:] {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		between.AddCert(c)
	}
	for _, name := range names {
		if _, err := leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: ca.Pool(), Intermediates: between}); err != nil {
			return err
		}
	}
	return nil
}

func TestCertificates(t *testing.T) {
	for _, challenge := range vm.Challenges {
		t.Run(challenge, func(t *testing.T) {
			ca := certificatetest.Start(t, certificatetest.Options{})
			m := start(t, ca, t.TempDir(), challenge)
			m.rounds(t, 1)
			s := m.Status()
			if err := trusted(t, ca, m.pair(t).Certificate); err != nil {
				t.Errorf("workload: %v\n%+v", err, s)
			}
			if err := trusted(t, ca, m.boot.chain); err != nil {
				t.Errorf("attestation: %v", err)
			}
			for i, of := range []string{"workload", "attestation"} {
				c := s.Certificates[i]
				if c.Of != of || !c.Public || c.Error != "" || !strings.HasPrefix(c.Issuer, "Pebble") || time.Until(c.NotAfter) < 89*24*time.Hour {
					t.Errorf("status of %s is %+v", of, c)
				}
			}
			spki, _ := x509.MarshalPKIXPublicKey(&m.boot.key.PublicKey)
			if s.Certificates[1].Key != vm.HashOf(spki) || s.Certificates[0].Key == s.Certificates[1].Key {
				t.Errorf("keys are %s and %s, the boot's is %s", s.Certificates[0].Key, s.Certificates[1].Key, vm.HashOf(spki))
			}
			want := `app.example.org. CAA 0 issue "ca.example.net; validationmethods=` + challenge + `; accounturi=` + s.Account + `"`
			if len(s.CAA) != 4 || s.CAA[0] != want || s.CAA[1] != `app.example.org. CAA 0 issuewild ";"` || s.Account == "" {
				t.Errorf("records are %q, want %q first", s.CAA, want)
			}
			m.offers.Range(func(key, _ any) bool { t.Errorf("an answer is left: %v", key); return true })
		})
	}
}

func TestAccountAndCertificateOutliveBoots(t *testing.T) {
	ca := certificatetest.Start(t, certificatetest.Options{})
	disk := t.TempDir()
	var first *x509.Certificate
	var account string
	for boot := 1; boot <= 4; boot++ {
		m := start(t, ca, disk, vm.ChallengeHTTP)
		if boot > 1 && !m.pair(t).Leaf.Equal(first) {
			t.Errorf("boot %d: containers find another certificate", boot)
		}
		m.rounds(t, 1)
		s := m.Status()
		if boot == 1 {
			first, account = m.pair(t).Leaf, s.Account
		}
		// The attestation service has another key at each boot, but authorities
		// give few certificates for a name.
		public, orders := true, int32(1+boot)
		if boot > bootsPerWeek {
			public, orders, account = false, 1+bootsPerWeek, ""
			if !strings.Contains(s.Certificates[1].Error, "enough") {
				t.Errorf("boot %d: error is %q", boot, s.Certificates[1].Error)
			}
		}
		if s.Certificates[1].Public != public || s.Account != account || ca.Orders.Load() != orders || ca.Accounts.Load() != 1 {
			t.Errorf("boot %d: status %+v, %d orders, %d accounts; want %v, %s, %d, 1", boot, s, ca.Orders.Load(), ca.Accounts.Load(), public, account, orders)
		}
	}
	for _, name := range []string{"account.pem", "*/workload.pem", "*/boots.json"} {
		files, err := filepath.Glob(filepath.Join(disk, name))
		if err != nil || len(files) != 1 {
			t.Fatalf("%s: %v, %v", name, files, err)
		}
		if info, err := os.Stat(files[0]); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, %v", name, info.Mode(), err)
		}
	}
}

func TestOtherNamesAreOrderedAnew(t *testing.T) {
	ca := certificatetest.Start(t, certificatetest.Options{})
	disk := t.TempDir()
	start(t, ca, disk, vm.ChallengeHTTP).rounds(t, 1)
	defer func(before []string) { names = before }(names)
	names = []string{"other.example.org"}
	m := start(t, ca, disk, vm.ChallengeHTTP)
	m.rounds(t, 1)
	if err := trusted(t, ca, m.pair(t).Certificate); err != nil || ca.Accounts.Load() != 1 {
		t.Errorf("%v; %d accounts, want 1", err, ca.Accounts.Load())
	}
}

func TestRenewal(t *testing.T) {
	ca := certificatetest.Start(t, certificatetest.Options{Life: 10 * time.Minute})
	m := start(t, ca, t.TempDir(), vm.ChallengeHTTP)
	m.rounds(t, 1)
	before, chain := m.pair(t), m.boot.chain
	for _, e := range m.entries {
		life := e.NotAfter.Sub(before.Leaf.NotBefore)
		if from := before.Leaf.NotBefore.Add(life / 2); e.due.Before(from) || e.due.After(from.Add(life/4)) {
			t.Errorf("of %v that begin at %v the next is due at %v", life, before.Leaf.NotBefore, e.due)
		}
		if wait := m.rounds(t, 1); wait < 4*time.Minute || wait > 8*time.Minute || ca.Orders.Load() != 2 {
			t.Errorf("with %d orders made it comes back after %v", ca.Orders.Load(), wait)
		}
	}
	for _, e := range m.entries {
		e.due = time.Now()
	}
	m.rounds(t, 1)
	after := m.pair(t)
	if err := trusted(t, ca, after.Certificate); err != nil || after.Leaf.Equal(before.Leaf) || after.Leaf.PublicKey.(*ecdsa.PublicKey).Equal(before.Leaf.PublicKey) {
		t.Errorf("the workload's is not another one, for another key: %v", err)
	}
	if err := trusted(t, ca, m.boot.chain); err != nil || bytes.Equal(m.boot.chain[0], chain[0]) || ca.Accounts.Load() != 1 {
		t.Errorf("that of the attestation service is not another one, of the same account: %v", err)
	}
}

func waitFor(t *testing.T, m *machine, what string, is func(*Status) bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if is(m.Status()) {
			return
		}
	}
	t.Fatalf("not %s in time: %+v\n%s", what, m.Status(), strings.Join(m.notes, "\n"))
}

// TestAuthorityIsDown: a machine boots and serves without its authority, and
// gets certificates when that is back.
func TestAuthorityIsDown(t *testing.T) {
	ca := certificatetest.Start(t, certificatetest.Options{})
	ca.Down()
	m := start(t, ca, t.TempDir(), vm.ChallengeHTTP)
	own := m.pair(t) // before anybody was asked
	if own.Leaf.VerifyHostname(names[0]) != nil || own.Leaf.Issuer.CommonName != own.Leaf.Subject.CommonName {
		t.Errorf("containers find %v", own.Leaf.Subject)
	}
	m.pause = 20 * time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { m.Run(ctx); close(done) }()
	defer func() { cancel(); <-done }()
	waitFor(t, m, "refused", func(s *Status) bool {
		c := s.Certificates[0]
		return !c.Public && strings.Contains(c.Error, "refused") && s.Account == ""
	})
	ca.Up()
	waitFor(t, m, "public", func(s *Status) bool {
		return s.Certificates[0].Public && s.Certificates[1].Public
	})
	if c := m.Status().Certificates[0]; c.Error != "" {
		t.Errorf("an error is left: %q", c.Error)
	}
}

func TestDamagedDisk(t *testing.T) {
	ca := certificatetest.Start(t, certificatetest.Options{})
	disk := t.TempDir()
	start(t, ca, disk, vm.ChallengeHTTP).rounds(t, 1)
	for _, name := range []string{"account.pem", "*/workload.pem", "*/boots.json"} {
		files, _ := filepath.Glob(filepath.Join(disk, name))
		if err := os.WriteFile(files[0], []byte("-----BEGIN"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m := start(t, ca, disk, vm.ChallengeHTTP)
	if len(m.notes) != 1 || !strings.Contains(m.notes[0], "new account") {
		t.Errorf("notes are %q", m.notes)
	}
	m.rounds(t, 1)
	if err := trusted(t, ca, m.pair(t).Certificate); err != nil || ca.Accounts.Load() != 2 {
		t.Errorf("%v; %d accounts, want 2", err, ca.Accounts.Load())
	}
}
