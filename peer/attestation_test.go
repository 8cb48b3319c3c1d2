package peer_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"testing"

	"github.com/secretvm/secretvm/attest/snp"
	"github.com/secretvm/secretvm/attest/tdx"
	"github.com/secretvm/secretvm/peer"
	"github.com/secretvm/secretvm/test/vectors"
	"github.com/secretvm/secretvm/vm"
)

func container(t testing.TB, name string) []byte {
	t.Helper()
	var file struct {
		Attestation string `json:"attestation"`
	}
	if err := json.Unmarshal(vectors.Read(t, fixtures+name), &file); err != nil {
		t.Fatal(err)
	}
	b, err := hex.DecodeString(file.Attestation)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParseAttestation(t *testing.T) {
	a, err := peer.ParseAttestation(container(t, "tdx-lite-attestation.json"))
	if err != nil {
		t.Fatal(err)
	}
	q, err := tdx.Decode(a.Evidence.Quote)
	if err != nil {
		t.Fatal(err)
	}
	d, err := peer.RecogniseDstack(q.Body.Measurement(), a.Log)
	if err != nil || d.Compose.String() != "86b0e55f2fa8e4fb69d890f14f54d5612707646e2573d54e0d2ddaaade77caa9" {
		t.Errorf("%+v, %v", d, err)
	}

	a, err = peer.ParseAttestation(container(t, "sev-snp-attestation.json"))
	if err != nil {
		t.Fatal(err)
	}
	report, err := snp.Decode(a.Evidence.Quote)
	if err != nil {
		t.Fatal(err)
	}
	if peer.DocumentDigest(a.MrConfig) != vm.Hash(report.HostData) || len(a.Evidence.AMD.EndorsementKey) == 0 || len(a.Log) != 9 || !json.Valid(a.VMConfig) {
		t.Errorf("%+v", a)
	}
	for _, name := range []string{"dstack/sdk/simulator/attestation.bin", "dstack/dstack/dstack-attest/tests/sev_snp_attestation.bin"} {
		if _, err := peer.ParseAttestation(vectors.Read(t, name)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestK8_AttestationContainers(t *testing.T) {
	good := container(t, "sev-snp-attestation.json")
	for n := range len(good) {
		if n%7 != 0 && n > 2000 { // every cut at the beginning, some of the rest
			continue
		}
		if _, err := peer.ParseAttestation(good[:n]); vm.CodeOf(err) != vm.CodeMalformed {
			t.Fatalf("cut after %d bytes: %v", n, err)
		}
	}
	for name, b := range map[string][]byte{
		"trailing byte": append(bytes.Clone(good), 0), "other version": append([]byte{1}, good[1:]...), "other kind": append([]byte{0, 1}, good[2:]...),
		"length in more bytes than needed": append([]byte{0, 3, 0x01, 0x00}, make([]byte, 2000)...),
	} {
		if _, err := peer.ParseAttestation(b); vm.CodeOf(err) != vm.CodeMalformed {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := peer.ParseAttestation(make([]byte, 2<<20)); vm.CodeOf(err) != vm.CodeTooLarge {
		t.Errorf("too large: %v", err)
	}
}

func FuzzParseAttestation(f *testing.F) {
	f.Add(append([]byte{0, 0}, make([]byte, 1100)...))
	f.Add(container(f, "tdx-lite-attestation.json"))
	f.Add(container(f, "sev-snp-attestation.json"))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := peer.ParseAttestation(b)
		if err != nil && vm.CodeOf(err) == vm.CodeInternal || err == nil && len(a.Evidence.Quote) > len(b) {
			t.Fatalf("%+v, %v", a, err)
		}
	})
}
