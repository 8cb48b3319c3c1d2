package snp_test

import (
	"crypto/x509"
	"testing"
	"time"

	"github.com/secretvm/secretvm/attest/snp"
	"github.com/secretvm/secretvm/attest/snp/snptest"
	"github.com/secretvm/secretvm/attest/tdx/pki"
	"github.com/secretvm/secretvm/test/vectors"
	"github.com/secretvm/secretvm/vm"
)

var now = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// seeds adds vector files to a fuzz target's corpus, where they are.
func seeds(f *testing.F, names ...string) {
	for _, name := range names {
		if b, ok := vectors.Seed(name); ok {
			f.Add(b)
		}
	}
}

func machine(t testing.TB, line snp.Line) snptest.Machine {
	t.Helper()
	m, err := snptest.Issue(snptest.Plan{Line: line, TCB: snp.TCB{Bootloader: 4, SNP: 0x1b, Microcode: 0xdb}, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// FuzzDecode reads any bytes as a report. What it accepts holds its bounds.
func FuzzDecode(f *testing.F) {
	seeds(f, "trustee/deps/verifier/test_data/snp/test-report.bin", "trustee/deps/verifier/test_data/snp/test-vlek-report.bin",
		"go-sev-guest/verify/testdata/attestation.bin", "azure-sidecar/pkg/attest/test_data/snp_report.bin")
	f.Add(snptest.Machine{Line: snp.Turin, ChipID: make([]byte, 8), TCB: snp.TCB{FMC: 1}}.Report())
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := snp.Decode(b)
		if err != nil {
			if vm.CodeOf(err) == vm.CodeInternal {
				t.Fatalf("error %v is no refusal", err)
			}
			return
		}
		if r.Version < 2 || r.Version > 5 || r.Signer > snp.VLEK || r.VMPL > 3 && r.VMPL != snp.HostVMPL {
			t.Fatalf("accepted %+v", r)
		}
		for _, line := range []snp.Line{snp.Milan, snp.Genoa, snp.Turin} {
			_, _ = r.Product(line)
			if tcb, err := line.TCB("REPORTED_TCB", r.ReportedTCB); err == nil && line.Pack(tcb) != r.ReportedTCB {
				t.Fatalf("TCB %#x of %s becomes %#x", r.ReportedTCB, line, line.Pack(tcb))
			}
		}
	})
}

// FuzzParseKey reads any bytes as an endorsement key's certificate.
func FuzzParseKey(f *testing.F) {
	seeds(f, "trustee/deps/verifier/test_data/snp/test-vcek.der", "trustee/deps/verifier/test_data/snp/test-vlek.der",
		"trustee/deps/verifier/test_data/snp/test-vcek-invalid-new.der", "virtee-sev/tests/certs_data/vcek_turin.der")
	f.Add(snp.Intermediates()[0].Raw)
	f.Fuzz(func(t *testing.T, b []byte) {
		cert, err := x509.ParseCertificate(b)
		if err != nil {
			return
		}
		k, err := snp.ParseKey(cert)
		if err != nil {
			if vm.CodeOf(err) == vm.CodeInternal {
				t.Fatalf("error %v is no refusal", err)
			}
			return
		}
		if k.Public == nil || k.Signer == snp.VCEK && len(k.ChipID) != 64 && len(k.ChipID) != 8 || k.Signer == snp.VLEK && k.ChipID != nil {
			t.Fatalf("accepted %+v", k)
		}
	})
}

// FuzzOpen gives any bytes as certificates and list, below AMD's roots.
// Nothing but genuine keys, of which the fuzzer has two, may be vouched for.
func FuzzOpen(f *testing.F) {
	genuine := map[string]bool{}
	for _, name := range []string{"trustee/deps/verifier/test_data/snp/test-vcek.der", "virtee-sev/tests/certs_data/vcek_milan.der"} {
		der := vectors.Read(f, name)
		genuine[string(der)] = true
		f.Add(der, []byte{}, []byte{})
		f.Add(der, snptest.Bundle(snp.Intermediates()[0], snp.Roots()[0]), []byte{})
	}
	f.Fuzz(func(t *testing.T, key, chain, crl []byte) {
		e, err := snp.Open(pki.NewChecker(snp.Roots(), now), &vm.AMDCollateral{EndorsementKey: key, Chain: chain, CRL: crl}, true)
		switch {
		case err == nil && (!genuine[string(key)] || e.Root == nil):
			t.Fatalf("vouches for %+v", e)
		case err != nil && vm.CodeOf(err) == vm.CodeInternal:
			t.Fatalf("error %v is no refusal", err)
		}
	})
}
