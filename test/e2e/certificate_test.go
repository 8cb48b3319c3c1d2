//go:build e2e

package e2e

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/guest/certificate"
	"github.com/secretvm/secretvm/guest/certificate/certificatetest"
	"github.com/secretvm/secretvm/vm"
)

const padlockName = "padlock.example.org"

// padlock writes a workload that wants certificates of an authority.
func padlock(t *testing.T, repository string, ca *certificatetest.CA) (folder string) {
	t.Helper()
	// In the module, as images of our own programs are; where builds go.
	err := os.MkdirAll(filepath.Join(repository, "dist"), 0o755)
	if err == nil {
		folder, err = os.MkdirTemp(filepath.Join(repository, "dist"), "padlock-")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	program, err := filepath.Rel(folder, filepath.Join(repository, "test", "e2e", "padlock"))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"images.yaml": fmt.Sprintf(`images:
  - repository: e2e/padlock
    go: %s
    user: 10001
    entrypoint: [/padlock]
    expose: [8443/tcp]
    text:
      etc/passwd: "padlock:x:10001:10001::/:/nonexistent\n"
`, program),
		"docker-compose.yaml": fmt.Sprintf(`x-secretvm:
  service: padlock
  disk: { size: 1G }
  shape: { cpus: 2, memory: 2G }
  tls:
    names: [%s]
    services: [web]
    ca: %s
    roots: |
      %s
services:
  web:
    image: localhost:5000/e2e/padlock@sha256:%064d
    ports: ["8443:8443"]
    read_only: true
    cap_drop: [ALL]
    security_opt: ["no-new-privileges:true"]
`, padlockName, strings.Replace(ca.URL, "127.0.0.1", "10.0.2.2", 1), strings.ReplaceAll(strings.TrimSpace(ca.Roots), "\n", "\n      "), 0),
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// TestPublicCertificates: an authority (Pebble) asks the machine at its
// forwarded port, and a browser then takes what the container and the
// attestation service show. Both the account and the container's certificate
// outlive the boot.
func TestPublicCertificates(t *testing.T) {
	repository, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	ca := certificatetest.Start(t, certificatetest.Options{})
	l := &lab{repository: repository, state: filepath.Join(t.TempDir(), "state"), workload: padlock(t, repository, ca)}
	if *kernel != "generic" {
		l.build(t, filepath.Join(t.TempDir(), "image"))
	}
	l.upArgs = append(l.upArgs, "--port", fmt.Sprintf("80=%d", ca.HTTPPort))
	l.must(t, "secretvm", "oci", "build", "--update", l.workload)
	var key vm.Hash
	for boot := int32(1); boot <= 2; boot++ {
		s := l.up(t)
		status := s.certificates(t)
		if boot == 1 {
			key = status.Certificates[0].Key
		}
		if status.Certificates[0].Key != key || ca.Accounts.Load() != 1 || ca.Orders.Load() != 1+boot {
			t.Errorf("boot %d: %+v, first key %s, %d accounts, %d orders", boot, status, key, ca.Accounts.Load(), ca.Orders.Load())
		}
		for i, where := range []string{s.result.Addresses[0].URL, s.result.Attestation + "/healthz"} {
			if seen := browse(t, ca, where); seen != status.Certificates[i].Key {
				t.Errorf("boot %d: %s shows key %s, /status says %s", boot, where, seen, status.Certificates[i].Key)
			}
		}
		if code, out, errOut := l.secretvm(t, s.result.Verify[1:]...); code != 0 {
			t.Errorf("the printed verify line ends with %d:\n%s%s", code, out, errOut)
		}
		s.down(t)
	}
}

// certificates waits until the machine has all that it wants.
func (s *session) certificates(t *testing.T) *certificate.Status {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer client.CloseIdleConnections()
	var answer struct {
		TLS *certificate.Status `json:"tls"`
	}
	for end := time.Now().Add(3 * time.Minute); time.Now().Before(end); time.Sleep(time.Second) {
		resp, err := client.Get(s.result.Attestation + "/status")
		if err != nil {
			t.Fatal(err)
		}
		err = json.NewDecoder(resp.Body).Decode(&answer)
		resp.Body.Close()
		if err != nil || answer.TLS == nil || len(answer.TLS.Certificates) != 2 {
			t.Fatalf("/status: %+v, %v", answer.TLS, err)
		}
		if answer.TLS.Certificates[0].Public && answer.TLS.Certificates[1].Public && answer.TLS.Account != "" {
			return answer.TLS
		}
	}
	t.Fatalf("no certificates: %+v\n%s", answer.TLS, s.stderr)
	return nil
}

// browse asks as a browser does to which the name leads to loopback, and returns
// the key that it was shown.
func browse(t *testing.T, ca *certificatetest.CA, address string) vm.Hash {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	to := u.Host
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: ca.Pool()},
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", to)
		},
	}
	defer transport.CloseIdleConnections()
	u.Host = net.JoinHostPort(padlockName, u.Port())
	client := &http.Client{Transport: transport, Timeout: time.Minute}
	resp, err := client.Get(u.String())
	for end := time.Now().Add(time.Minute); err != nil && time.Now().Before(end); time.Sleep(time.Second) { // the container has only just started
		resp, err = client.Get(u.String())
	}
	if err != nil {
		t.Error(err)
		return vm.Hash{}
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("GET %s: %s, %v", u, resp.Status, err)
	}
	return vm.HashOf(resp.TLS.PeerCertificates[0].RawSubjectPublicKeyInfo)
}
