package attestation_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/secretvm/secretvm/attest"
	"github.com/secretvm/secretvm/guest/attestation"
	"github.com/secretvm/secretvm/guest/ipc"
	"github.com/secretvm/secretvm/kms/decision/decisiontest"
	"github.com/secretvm/secretvm/verification"
	"github.com/secretvm/secretvm/verification/machinetest"
	"github.com/secretvm/secretvm/vm"
)

// containers have a key that signs, and a log.
type containers struct{ events []vm.Event }

func (containers) PublicKey(kind string) ([]byte, [64]byte) {
	if kind != vm.SignEd25519 {
		return nil, [64]byte{}
	}
	return []byte("PEM"), vm.SigningReportData([]byte("the raw key, of 32 bytes exactly"))
}

func (c containers) Application() (r vm.Register, _ []vm.Event) {
	for _, e := range c.events {
		r = r.Extend(e.Digest)
	}
	return r, c.events
}

// taken is the socket of an attestation service that somebody else runs now.
type taken struct {
	machine *machinetest.Machine
	key     vm.Hash // of the boot
	log     containers
	client  *http.Client
}

func takeOver(t *testing.T) *taken {
	t.Helper()
	m := machinetest.Boot(t)
	key, err := attestation.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	s := &taken{machine: m, key: key.SPKI, log: containers{[]vm.Event{vm.ApplicationEvent("web", "started", []byte("1"))}}}
	quotes := attestation.NewQuotes(m, nil, key.SPKI, attestation.Claims(key.SPKI, vm.TDX, m.Events), s.log)
	server := ipc.NewServer(nil)
	ipc.Handle(server, attestation.AskQuote, quotes.Quote)
	socket := filepath.Join(t.TempDir(), "s")
	l, err := ipc.Listen(t.Context(), socket, 0)
	if err != nil {
		t.Skipf("only root can make sockets for others: %v", err)
	}
	go func() { _ = server.Serve(t.Context(), l) }()
	s.client = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	return s
}

// ask sends any bytes as a question for a quote.
func (s *taken) ask(t *testing.T, question []byte) (ev vm.Evidence, ok bool) {
	t.Helper()
	resp, err := s.client.Post("http://guestd/"+attestation.AskQuote, "", bytes.NewReader(question))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var a attestation.Answer
	if resp.StatusCode != http.StatusOK {
		return ev, false
	}
	if err := json.Unmarshal(text, &a); err != nil {
		t.Fatal(err)
	}
	return a.Evidence, true
}

// hostile are all quotes that can be had by asking for report data rd in whatever
// words: as nonces of any size, as what a connection exports, and in fields that
// there are none of.
func (s *taken) hostile(t *testing.T, rd [64]byte) (out []vm.Evidence) {
	t.Helper()
	for _, purpose := range []string{"attestation", "certificate", "cpu", "signing", "application", "release", "workload", "raw", ""} {
		for _, nonce := range [][]byte{rd[:], rd[:32], rd[:16], nil} {
			for _, exporter := range [][]byte{nil, rd[:32], rd[32:]} {
				question := map[string]any{
					"For": purpose, "Nonce": nonce, "Exporter": exporter, "Kind": vm.SignEd25519,
					"ReportData": rd, "report_data": rd[:], "Key": rd[:32], "SPKI": fmt.Sprintf("%x", rd[:32]), "Claims": rd[:], "Register": rd[:48],
				}
				ev, ok := s.ask(t, attestation.Encode(question))
				known := slices.Contains([]string{"certificate", "cpu", "signing"}, purpose) || len(nonce) > 0 && (purpose == "attestation" || purpose == "application")
				if ok != known {
					t.Errorf("a quote for %q over %d bytes: %t", purpose, len(nonce), ok)
				}
				if ok {
					out = append(out, ev)
				}
			}
		}
	}
	return out
}

// TestA8_QuotesForStrangersReleaseNothing: with any quote that the attestation
// service can get, the key manager grants nothing to it.
func TestA8_QuotesForStrangersReleaseNothing(t *testing.T) {
	s := takeOver(t)
	release := decisiontest.New(t, s.machine)
	quotes := s.hostile(t, release.ReportData())
	for i, ev := range quotes {
		if code := release.Decide(t, ev); code != vm.CodeReportData {
			t.Errorf("quote %d: %q, want %s", i, code, vm.CodeReportData)
		}
	}
	if len(quotes) < 30 {
		t.Errorf("%d quotes were had, so this shows little", len(quotes))
	}
}

// TestA8_QuotesForStrangersMeanNothingElse: none of them is about a container's own
// data, a log that was not written, a key that signs, or a TLS key that the
// service has brought.
func TestA8_QuotesForStrangersMeanNothingElse(t *testing.T) {
	s := takeOver(t)
	said := func(ev vm.Evidence) [64]byte {
		t.Helper()
		verdict, err := attest.Verify(ev, attest.Options{Roots: s.machine.Roots(), Time: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		return [64]byte(verdict.ReportData)
	}
	nonce := bytes.Repeat([]byte{0x5a}, 32)
	theirs, exported := vm.HashOf([]byte("the key of whoever took the service over")), bytes.Repeat([]byte{7}, vm.ExporterSize)
	var preimage []byte // of a container's data: label and data, each behind its length
	for _, part := range [][]byte{[]byte("secretvm/v1/workload"), nonce[:16]} {
		preimage = append(append(preimage, 0, 0, 0, byte(len(part))), part...)
	}
	for what, rd := range map[string][64]byte{
		"a container's data":     vm.WorkloadReportData(nonce),
		"its preimage":           [64]byte(append(preimage, make([]byte, 64)...)[:64]),
		"a node's admission":     vm.Admission{ChainID: "c"}.ReportData(),
		"another key":            vm.AttestationReportData(theirs, nonce),
		"another key's channel":  vm.ExporterReportData(theirs, nonce, exported),
		"another key's /cpu":     [64]byte(append(theirs[:], make([]byte, 32)...)),
		"a certificate":          vm.ClaimsReportData(vm.CertificateClaims(theirs, nil)),
		"another signing key":    vm.SigningReportData(theirs[:]),
		"a log that is not ours": vm.ApplicationReportData(vm.Register{1}, nonce),
	} {
		for _, ev := range s.hostile(t, rd) {
			if said(ev) == rd {
				t.Errorf("a quote about %s was had", what)
			}
		}
	}
}

// TestA8_QuotesNameTheKeyOfTheBoot: for a verifier, the service speaks under the
// boot's key alone, whatever key whoever took it over would rather serve with.
func TestA8_QuotesNameTheKeyOfTheBoot(t *testing.T) {
	s := takeOver(t)
	m, theirs, nonce := s.machine, vm.HashOf([]byte("somebody's key")), []byte("a nonce that somebody has drawn.")
	appraise := func(key vm.Hash, ev vm.Evidence) verification.Report {
		ev.Events = m.Events
		a := vm.Attestation{Nonce: hex.EncodeToString(nonce), TLSKey: key, Evidence: ev}
		return verification.Appraise(
			verification.Answer{URL: "https://vm.example", TLSKey: key, Nonce: nonce, Attestation: a, Config: m.Canonical},
			verification.Wanted{Compose: m.Compose, Manifest: &m.Manifest, Roots: m.Roots(), Time: time.Now()})
	}
	own, ok := s.ask(t, attestation.Encode(attestation.Question{For: attestation.ForStrangers, Nonce: nonce}))
	if !ok {
		t.Fatal("no quote")
	}
	if r := appraise(s.key, own); r.Verdict == verification.NotVerified {
		t.Fatalf("what the service says is not verified: %s", r.Summary)
	}
	for i, ev := range append(s.hostile(t, vm.AttestationReportData(theirs, nonce)), own) {
		if r := appraise(theirs, ev); r.Verdict != verification.NotVerified || r.Check("connection").Code != vm.CodeReportData {
			t.Errorf("quote %d: %s, %+v", i, r.Verdict, r.Check("connection"))
		}
	}
}
