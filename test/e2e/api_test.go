//go:build e2e

package e2e

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"

	"github.com/secretvm/secretvm/attest"
	"github.com/secretvm/secretvm/guestapi"
	"github.com/secretvm/secretvm/verification"
	"github.com/secretvm/secretvm/vm"
)

// asked is what test/e2e/asker got from its machine.
type asked map[string]struct {
	Status int
	Body   string
	Error  string
}

// into decodes one of the answers.
func (a asked) into(t *testing.T, what string, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(a[what].Body), v); err != nil || a[what].Status != http.StatusOK {
		t.Fatalf("%s: %d %.300s %s (%v)", what, a[what].Status, a[what].Body, a[what].Error, err)
	}
}

// TestW2_ContainersOfARealMachine: a container that is granted the machine's API
// gets from it what others verify; its neighbour finds no socket.
func TestW2_ContainersOfARealMachine(t *testing.T) {
	base := open(t)
	l := *base // the same key manager and image, and another machine
	l.workload = "test/e2e/asker"
	s := l.up(t)
	defer s.down(t)
	if len(s.result.Addresses) != 2 {
		t.Fatalf("addresses are %+v", s.result.Addresses)
	}
	asker, stranger := s.result.Addresses[0].URL, s.result.Addresses[1].URL

	for what, a := range askContainer(t, stranger, "first") {
		if a.Status != 0 || !strings.Contains(a.Error, "no such file") {
			t.Errorf("the stranger gets %s: %d %s %s", what, a.Status, a.Body, a.Error)
		}
	}

	first, second := askContainer(t, asker, "first"), askContainer(t, asker, "second")
	if len(first) != 9 || first["denied"].Status != http.StatusForbidden {
		t.Errorf("it gets %+v", first)
	}
	var quote, quote2, log guestapi.Quote
	var info guestapi.Info
	var ed25519Signature, secp256k1Signature guestapi.Signature
	first.into(t, "info", &info)
	first.into(t, "quote", &quote)
	second.into(t, "quote", &quote2)
	second.into(t, "application", &log)
	first.into(t, "ed25519", &ed25519Signature)
	first.into(t, "secp256k1", &secp256k1Signature)
	for _, key := range []string{"key", "instance-key"} {
		if a := first[key]; a.Status != http.StatusOK || a != second[key] || a == first["key"] && key != "key" {
			t.Errorf("%s: %+v, then %+v", key, a, second[key])
		}
	}
	id, err := info.Config.ConfigID()
	if err != nil || info.Service != "asker" || info.Image != l.manifest.Verity.RootHash {
		t.Errorf("info is %+v (%v)", info, err)
	}

	// Its evidence is this machine's, about what it asked.
	text, err := os.ReadFile(after(s.result.Verify, "--trust-root"))
	if err != nil {
		t.Fatal(err)
	}
	roots, err := verification.ParseRoots(text)
	if err != nil {
		t.Fatal(err)
	}
	genuine := func(what string, ev vm.Evidence, want [64]byte) {
		t.Helper()
		verdict, err := attest.Verify(ev, attest.Options{Roots: roots, Time: time.Now()})
		switch {
		case err != nil:
			t.Errorf("%s: %v", what, err)
		case !bytes.Equal(verdict.ReportData, want[:]):
			t.Errorf("%s is about %x, want %x", what, verdict.ReportData, want)
		case verdict.Measurement.MRConfigID != id:
			t.Errorf("%s is of a machine with config %s", what, verdict.Measurement.MRConfigID)
		}
	}
	genuine("quote", quote.Evidence, vm.WorkloadReportData([]byte("first")))
	genuine("quote", quote2.Evidence, vm.WorkloadReportData([]byte("second")))

	// What it signed verifies under the keys that everybody gets.
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	get := func(path string) string {
		resp, err := client.Get(s.result.Attestation + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d %v: %s", path, resp.StatusCode, err, body)
		}
		return string(body)
	}
	quoted := func(kind string, public []byte) {
		raw, err := hex.DecodeString(strings.TrimSpace(get("/attestation_" + kind)))
		if err != nil {
			t.Errorf("quote about %s: %v", kind, err)
		}
		genuine("quote about "+kind, vm.Evidence{TEE: vm.Soft, Quote: raw, Collateral: quote.Evidence.Collateral}, vm.SigningReportData(public))
	}
	block, _ := pem.Decode([]byte(get("/publickey_ed25519")))
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if !ed25519.Verify(parsed.(ed25519.PublicKey), []byte("first"), ed25519Signature.Signature) {
		t.Error("the Ed25519 signature is not of the machine's key")
	}
	quoted(vm.SignEd25519, parsed.(ed25519.PublicKey))
	block, _ = pem.Decode([]byte(get("/publickey_secp256k1")))
	point, err := secp256k1.ParsePubKey(block.Bytes[len(block.Bytes)-65:])
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256([]byte("first"))
	if signature, err := ecdsa.ParseDERSignature(secp256k1Signature.Signature); err != nil || !signature.Verify(digest[:], point) {
		t.Errorf("the secp256k1 signature is not of the machine's key: %v", err)
	}
	quoted(vm.SignSecp256k1, point.SerializeCompressed())

	// Its log is what the machine quotes, to the container and to strangers.
	var a vm.Application
	if err := json.Unmarshal([]byte(get("/application?nonce="+strings.Repeat("5a", 32))), &a); err != nil {
		t.Fatal(err)
	}
	register, err := vm.ReplayApplication(a.Events)
	if err != nil || register != a.Register || register != *log.ApplicationRegister || len(a.Events) != 2 ||
		a.Events[1].Name != "asker/asked" {
		t.Errorf("log is %+v (%v)", a.Events, err)
	}
	genuine("log", a.Evidence, vm.ApplicationReportData(register, bytes.Repeat([]byte{0x5a}, 32)))

	if code, out, errOut := l.secretvm(t, s.result.Verify[1:]...); code != 0 {
		t.Errorf("the printed verify line ends with %d:\n%s%s", code, out, errOut)
	}
}

func askContainer(t *testing.T, address, nonce string) (a asked) {
	t.Helper()
	resp, err := http.Get(strings.TrimSuffix(address, "/") + "/ask?" + url.Values{"nonce": {nonce}}.Encode())
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&a); err != nil {
		t.Fatal(err)
	}
	return a
}
