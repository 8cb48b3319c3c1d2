package attestd_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/attest"
	"github.com/secretvm/secretvm/verification"
	"github.com/secretvm/secretvm/verification/machinetest"
	"github.com/secretvm/secretvm/vm"
)

func clientOf(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 20 * time.Second}
}

func fetch(t *testing.T, c *http.Client, url string) (*http.Response, []byte) {
	t.Helper()
	resp, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, b
}

// TestBundleVerifies: what the machine serves in one file is what verify reads,
// offline, against the caller's own wishes; without them it is UNVERIFIED.
func TestBundleVerifies(t *testing.T) {
	m := machinetest.Boot(t)
	s, url := m.Serve(t, nil)
	nonce := bytes.Repeat([]byte{0x5a}, 32)
	for _, query := range []string{"", "?nonce=" + hex.EncodeToString(nonce)} {
		resp, file := fetch(t, clientOf(t), url+"/bundle"+query)
		if resp.Header.Get("Content-Type") != "application/zip" || !verification.IsBundle(file) {
			t.Fatalf("GET /bundle%s: %d %s", query, resp.StatusCode, resp.Header.Get("Content-Type"))
		}
		answer, want, err := verification.OpenBundle(file)
		if err != nil {
			t.Fatal(err)
		}
		if answer.TLSKey != s.TLSKey() || answer.URL != url || query != "" && !bytes.Equal(answer.Nonce, nonce) || want.Compose != nil || want.Manifest != nil {
			t.Errorf("answer %+v, wishes %+v", answer, want)
		}
		want.Roots = m.Roots()
		r := verification.Appraise(answer, want)
		if r.Verdict != verification.UnverifiedWorkload {
			t.Errorf("with the machine's own wishes: %s: %s", r.Verdict, r.Summary)
		}
		want.Compose, want.Manifest, want.Service = m.Compose, &m.Manifest, m.Config.Service
		if r = verification.Appraise(answer, want); r.Verdict != verification.Verified || r.Check("fresh").OK != verification.Holds || r.Check("configuration").OK != verification.Holds {
			t.Errorf("with the caller's wishes: %s: %s", r.Verdict, r.Summary)
		}
		if r.Machine == nil || len(r.Machine.Events) != len(m.Events) {
			t.Errorf("events do not come along: %+v", r.Machine)
		}
	}
	if resp, _ := fetch(t, clientOf(t), url+"/bundle?nonce=xx"); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("a bad nonce: %d", resp.StatusCode)
	}
}

// TestCollateralIsAFileForVerify: with it, and the quote of /cpu, nothing else
// is needed.
func TestCollateralIsAFileForVerify(t *testing.T) {
	m := machinetest.Boot(t)
	s, url := m.Serve(t, nil)
	c := clientOf(t)
	_, collateral := fetch(t, c, url+"/collateral")
	parsed, err := verification.ParseCollateral(collateral)
	if err != nil {
		t.Fatalf("%v: %.200s", err, collateral)
	}
	_, cpu := fetch(t, c, url+"/cpu")
	answer, _, err := verification.Recognise(cpu)
	if err != nil {
		t.Fatal(err)
	}
	answer.Attestation.Evidence.Collateral = parsed
	verdict, err := attest.Verify(answer.Attestation.Evidence, attest.Options{Roots: m.Roots(), Time: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	key := s.TLSKey()
	if !bytes.Equal(verdict.ReportData, append(key[:], make([]byte, 32)...)) {
		t.Errorf("/cpu binds %x, want the key and zeros", verdict.ReportData)
	}
	_, self := fetch(t, c, url+"/self")
	for _, want := range []string{"\nMRTD: " + verdict.Measurement.MRTD.String() + "\n", "\nRTMR3: " + verdict.Measurement.RTMR[3].String() + "\n", "TCB_SVN: 0d0104", "\nMRSEAM: "} {
		if !strings.Contains(string(self), want) {
			t.Errorf("/self lacks %q:\n%s", want, self)
		}
	}
}

// certificateOf waits until the server's certificate carries evidence.
func certificateOf(t *testing.T, url string) (*x509.Certificate, []byte) {
	t.Helper()
	for range 100 {
		conn, err := tls.Dial("tcp", strings.TrimPrefix(url, "https://"), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		leaf := conn.ConnectionState().PeerCertificates[0]
		conn.Close()
		for _, e := range leaf.Extensions {
			if slices.Equal(e.Id, vm.OIDEvidence) {
				if e.Critical {
					t.Error("the extension is critical: clients that do not know it must go on")
				}
				return leaf, e.Value
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("the certificate carries no evidence")
	return nil, nil
}

// TestA3_CertificateNamesItsKey: the certificate's evidence is genuine, and
// about the key in that certificate and no other; events explain its register.
func TestA3_CertificateNamesItsKey(t *testing.T) {
	m := machinetest.Boot(t)
	_, url := m.Serve(t, nil)
	leaf, value := certificateOf(t, url)
	tee, quote, claims, err := vm.ParseCertificateEvidence(value)
	if err != nil {
		t.Fatal(err)
	}
	key, events, err := vm.ParseCertificateClaims(claims)
	if err != nil || key != vm.HashOf(leaf.RawSubjectPublicKeyInfo) {
		t.Fatalf("claims name key %s, %v", key, err)
	}
	ev := vm.Evidence{TEE: tee, Quote: quote}
	if err := json.Unmarshal(events, &ev.Events); err != nil {
		t.Fatal(err)
	}
	with, err := m.Quote(t.Context(), [64]byte{}) // for its collateral
	if err != nil {
		t.Fatal(err)
	}
	ev.Collateral = with.Collateral
	verdict, err := attest.Verify(ev, attest.Options{Roots: m.Roots(), Time: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	if rd := vm.ClaimsReportData(claims); !bytes.Equal(verdict.ReportData, rd[:]) {
		t.Errorf("the quote binds %x, want the claims' digest %x", verdict.ReportData, rd)
	}
	_, other := m.Serve(t, nil)
	second, _ := certificateOf(t, other)
	if bytes.Equal(second.RawSubjectPublicKeyInfo, leaf.RawSubjectPublicKeyInfo) {
		t.Error("two starts have one key")
	}
}

// failing is a quoter that has no device.
type failing struct{}

func (failing) Quote(context.Context, [64]byte) (vm.Evidence, error) {
	return vm.Evidence{}, io.ErrUnexpectedEOF
}

// TestServiceNeedsNoEvidenceToAnswer: a device that fails costs the quote, not
// the connection.
func TestServiceNeedsNoEvidenceToAnswer(t *testing.T) {
	m := machinetest.Boot(t)
	_, url := m.Serve(t, failing{})
	if resp, body := fetch(t, clientOf(t), url+"/config"); resp.StatusCode != http.StatusOK || !bytes.Equal(body, m.Canonical) {
		t.Errorf("GET /config: %d %s", resp.StatusCode, body)
	}
	if resp, _ := fetch(t, clientOf(t), url+"/bundle"); resp.StatusCode != http.StatusInternalServerError {
		t.Errorf("GET /bundle: %d, want 500", resp.StatusCode)
	}
}

func TestBindingIsChecked(t *testing.T) {
	m := machinetest.Boot(t)
	_, url := m.Serve(t, nil)
	for _, query := range []string{"&binding=", "&binding=tls-unique", "&binding=tls-exporter&binding=tls-exporter"} {
		resp, body := fetch(t, clientOf(t), url+"/attestation?nonce="+strings.Repeat("ab", 16)+query)
		if resp.StatusCode != http.StatusBadRequest || !strings.Contains(string(body), "no such binding") {
			t.Errorf("%s: %d %s", query, resp.StatusCode, body)
		}
	}
}
