//go:build e2e

package e2e

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// checkService asks the attestation service of a running machine as tools and
// strangers do.
func (s *session) checkService(t *testing.T) {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	ask := func(path string) (int, []byte) {
		resp, err := client.Get(s.result.Attestation + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, body
	}

	// The boot is over, and every step of it is told.
	var status struct {
		Stage, Workload string
		Boot            []struct{ Step, State string }
	}
	_, body := ask("/status")
	if err := json.Unmarshal(body, &status); err != nil || status.Stage != "complete" || status.Workload != "running" || len(status.Boot) < 7 {
		t.Errorf("/status: %v: %s", err, body)
	}

	// What the example's owner opened is open, the rest is closed.
	var use struct {
		Memory float64 `json:"memory_total_gb"`
		Disk   float64 `json:"disk_total_gb"`
	}
	code, body := ask("/resources")
	if err := json.Unmarshal(body, &use); err != nil || code != http.StatusOK || use.Memory < 1 || use.Disk < 1 {
		t.Errorf("/resources: %d, %v: %s", code, err, body)
	}
	for _, path := range []string{"/logs", "/services", "/metrics", "/.well-known/logs/stream"} {
		if code, body := ask(path); code != http.StatusUnauthorized {
			t.Errorf("%s: %d, want 401: %s", path, code, body)
		}
	}
	code, body = ask("/docker-compose")
	if own, err := os.ReadFile(filepath.Join(s.repository, "examples", "guestbook", "docker-compose.yaml")); err != nil || code != http.StatusOK || string(own) != string(body) {
		t.Errorf("/docker-compose: %d, %v: not the owner's file", code, err)
	}

	// One file holds all that a verifier needs of the machine.
	_, body = ask("/bundle?nonce=" + strings.Repeat("5a", 32))
	file := filepath.Join(t.TempDir(), "evidence.zip")
	if err := os.WriteFile(file, body, 0o600); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"verify", file}, s.result.Verify[3:]...) // "secretvm verify URL" comes first
	if code, out, errOut := s.secretvm(t, args...); code != 0 || !strings.Contains(out, "the recorded TLS connection ended in the attested VM") {
		t.Errorf("verify /bundle: exit %d:\n%s%s", code, out, errOut)
	}
}
