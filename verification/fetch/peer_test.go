package fetch_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/attest"
	"github.com/secretvm/secretvm/peer"
	"github.com/secretvm/secretvm/test/vectors"
	"github.com/secretvm/secretvm/verification"
	"github.com/secretvm/secretvm/verification/fetch"
	"github.com/secretvm/secretvm/vm"
)

// secretVM serves what a machine of the existing system served once.
func secretVM(t *testing.T, change map[string]http.HandlerFunc) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	serve := func(path, contentType string, body []byte) {
		handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			_, _ = w.Write(body)
		})
		if other := change[path]; other != nil {
			handler = other
		}
		mux.HandleFunc(path, handler)
	}
	serve("/cpu", "text/plain; charset=utf-8", vectors.Read(t, "secretvm-verify/test-data/tdx_cpu_docker_check_quote.txt"))
	serve("/docker-compose", "text/html", []byte("<html><pre>"+string(vectors.Read(t, "secretvm-verify/test-data/tdx_cpu_docker_check_compose.yaml"))+"\u200b</pre></html>"))
	serve("/info", "application/json", []byte(`{"dstack_app_id":""}`))
	if h := change["/gpu"]; h != nil {
		mux.HandleFunc("/gpu", h)
	}
	s := httptest.NewTLSServer(mux)
	t.Cleanup(s.Close)
	return s
}

// complete adds what a fetcher of collateral adds.
func complete(t *testing.T, a *verification.Answer) {
	t.Helper()
	c, err := verification.ParseCollateral(vectors.Read(t, "dcap-qvl/sample/tdx_quote_collateral.json"))
	if err != nil {
		t.Fatal(err)
	}
	a.Attestation.Evidence.Collateral = c
}

// TestA3_ExistingSecretVM verifies recorded answers of a real machine, served
// from here: all of it is genuine and as wanted, and the connection is not the
// machine's, which is all that fails.
func TestA3_ExistingSecretVM(t *testing.T) {
	s := secretVM(t, nil)
	registry, err := peer.ParseRegistry(vectors.Read(t, "secretvm-verify/artifacts_registry/tdx.csv"))
	if err != nil {
		t.Fatal(err)
	}
	a, err := fetch.Any(t.Context(), address(t, s.URL))
	if err != nil {
		t.Fatal(err)
	}
	complete(t, &a)
	want := verification.Wanted{
		Compose: vectors.Read(t, "secretvm-verify/test-data/tdx_cpu_docker_check_compose.yaml"), Registry: registry,
		Time: time.Date(2026, 2, 15, 0, 0, 0, 0, time.UTC), Policy: attest.Policy{StaleCollateral: 300 * 24 * time.Hour},
	}
	r := verification.Appraise(a, want)
	for _, c := range r.Checks {
		wantOutcome := map[string]verification.Outcome{"connection": verification.Fails, "fresh": verification.Open, "configuration": verification.Open}
		if want, named := wantOutcome[c.Name]; named && c.OK != want || !named && c.OK != verification.Holds {
			t.Errorf("%s: %+v", c.Name, c)
		}
	}
	spki := sha256.Sum256(s.Certificate().RawSubjectPublicKeyInfo)
	if c := r.Check("connection"); c.Code != vm.CodeReportData || !strings.HasPrefix(c.Refusal.Found, hex.EncodeToString(spki[:])) ||
		!strings.Contains(c.What, "another TLS key than this connection's") {
		t.Errorf("connection: %+v", c)
	}
	if r.Verdict != verification.NotVerified || r.System != verification.SystemSecretVM || !strings.Contains(r.Check("system").What, "small prod v0.0.25") {
		t.Errorf("%s %s %+v", r.Verdict, r.System, r.Check("system"))
	}

	// With the key that the quote names, as the machine itself had it.
	a.TLSKey = vm.Hash(r.Machine.ReportData[:32])
	if r := verification.Appraise(a, want); r.Verdict != verification.Verified {
		t.Errorf("%s: %s", r.Verdict, r.Summary)
	}
}

func TestPeerRefuses(t *testing.T) {
	answerWith := func(status int, body []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = w.Write(body)
		}
	}
	gpu := vectors.Read(t, "secretvm-verify/test-data/gpu_attest.txt")
	for _, tt := range []struct {
		name   string
		change map[string]http.HandlerFunc
		code   vm.Code
		gpus   int
	}{
		{"as it is", nil, "", 0},
		{"guarded compose file", map[string]http.HandlerFunc{"/docker-compose": answerWith(401, []byte("Unauthorized"))}, "", 0},
		{"with a GPU", map[string]http.HandlerFunc{"/gpu": answerWith(200, gpu)}, "", 1},
		{"no GPU, said in JSON", map[string]http.HandlerFunc{"/gpu": answerWith(200, []byte(`{"error":"no"}`))}, "", 0},
		{"GPU evidence that is not base64", map[string]http.HandlerFunc{"/gpu": answerWith(200, bytes.Replace(gpu, []byte(`"evidence": "`), []byte(`"evidence": "!`), 1))}, vm.CodeMalformed, 0},
		{"no quote", map[string]http.HandlerFunc{"/cpu": answerWith(404, []byte(`{"error":"none"}`))}, vm.CodeMalformed, 0},
		{"a page", map[string]http.HandlerFunc{"/cpu": answerWith(200, []byte("<html>"))}, vm.CodeMalformed, 0},
		{"a huge quote", map[string]http.HandlerFunc{"/cpu": answerWith(200, bytes.Repeat([]byte("0"), 1<<20))}, vm.CodeTooLarge, 0},
		{"a huge compose file", map[string]http.HandlerFunc{"/docker-compose": answerWith(200, bytes.Repeat([]byte("0"), 5<<20))}, vm.CodeTooLarge, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, err := fetch.Peer(t.Context(), address(t, secretVM(t, tt.change).URL))
			if tt.code != "" {
				if vm.CodeOf(err) != tt.code {
					t.Errorf("Peer = %v, want %s", err, tt.code)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			gpus := 0
			if g := a.Attestation.Evidence.GPU; g != nil {
				gpus = len(g.Devices)
			}
			if gpus != tt.gpus || a.Attestation.Evidence.TEE != vm.TDX || a.TLSKey.IsZero() || a.TLSCert.IsZero() {
				t.Errorf("%d GPUs, want %d; %+v", gpus, tt.gpus, a)
			}
		})
	}
}

// What is neither of ours nor theirs is refused as it was asked first.
func TestAnyOfNothing(t *testing.T) {
	s := httptest.NewTLSServer(http.NotFoundHandler())
	defer s.Close()
	if _, err := fetch.Any(t.Context(), address(t, s.URL)); vm.CodeOf(err) != vm.CodeMalformed || !strings.Contains(err.Error(), "/attestation") {
		t.Errorf("Any = %v", err)
	}
}
