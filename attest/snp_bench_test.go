package attest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha512"
	"encoding/hex"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-sev-guest/abi"
	"github.com/google/go-sev-guest/kds"
	"github.com/google/go-sev-guest/proto/sevsnp"
	"github.com/google/go-sev-guest/validate"
	snporacle "github.com/google/go-sev-guest/verify"
	"github.com/google/go-sev-guest/verify/trust"

	"github.com/secretvm/secretvm/attest/snp"
	"github.com/secretvm/secretvm/vm"
)

// benchSNP is a genuine Milan report with its certificates.
func benchSNP(b testing.TB) vm.Evidence {
	b.Helper()
	load := func(name string) []byte {
		raw, err := os.ReadFile(filepath.Join(vectors, virteeSEV+name))
		if err != nil {
			b.Skipf("independent vectors are not at %s: skipped", vectors)
		}
		return raw
	}
	report, err := hex.DecodeString(strings.TrimSpace(string(load("report_milan.hex"))))
	if err != nil {
		b.Fatal(err)
	}
	return vm.Evidence{TEE: vm.SNP, Quote: report, AMD: &vm.AMDCollateral{EndorsementKey: load("vcek_milan.der"), Chain: load("cert_chain_milan")}}
}

// oracleReport is how its users call google/go-sev-guest: parse, verify, validate.
func oracleReport(ev vm.Evidence, root *trust.AMDRootCerts) error {
	report, err := abi.ReportToProto(ev.Quote)
	if err != nil {
		return err
	}
	attestation := &sevsnp.Attestation{Report: report, CertificateChain: &sevsnp.CertificateChain{
		VcekCert: ev.AMD.EndorsementKey, AskCert: root.ProductCerts.Ask.Raw, ArkCert: root.ProductCerts.Ark.Raw,
	}}
	if err := snporacle.SnpAttestation(attestation, &snporacle.Options{
		DisableCertFetching: true, Now: snpTime, TrustedRoots: map[string][]*trust.AMDRootCerts{"Milan": {root}},
	}); err != nil {
		return err
	}
	vmpl := 0
	return validate.SnpAttestation(attestation, &validate.Options{GuestPolicy: abi.SnpPolicy{SMT: true}, VMPL: &vmpl, MinimumTCB: kds.TCBParts{}})
}

// BenchmarkSNP compares verification with one bare P-384 verification, turn by
// turn in one run, because the computer's speed drifts; medians, because other
// processes interrupt. ×P384 is the ratio.
func BenchmarkSNP(b *testing.B) {
	ev := benchSNP(b)
	o := Options{Time: snpTime, Policy: lenient()}
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	digest := sha512.Sum384(ev.Quote)
	signature, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
	if err != nil {
		b.Fatal(err)
	}
	verifier := NewVerifier(CacheOptions{})
	root := &trust.AMDRootCerts{ProductLine: "Milan", ProductCerts: &trust.ProductCerts{Ark: snp.Roots()[0], Ask: snp.Intermediates()[0]}}
	for _, row := range []struct {
		name string
		run  func() error
	}{
		{"cached", func() error { _, err := verifier.Verify(ev, o); return err }},
		{"cold", func() error { _, err := Verify(ev, o); return err }},
		{"go-sev-guest", func() error { return oracleReport(ev, root) }},
	} {
		b.Run(row.name, func(b *testing.B) {
			var work, yardstick []time.Duration
			for b.Loop() {
				begin := time.Now()
				if err := row.run(); err != nil {
					b.Fatal(err)
				}
				middle := time.Now()
				if !ecdsa.VerifyASN1(&key.PublicKey, digest[:], signature) {
					b.Fatal("signature does not hold")
				}
				work, yardstick = append(work, middle.Sub(begin)), append(yardstick, time.Since(middle))
			}
			slices.Sort(work)
			slices.Sort(yardstick)
			own, bare := float64(work[len(work)/2]), float64(yardstick[len(yardstick)/2])
			b.ReportMetric(own, "ns/op")
			b.ReportMetric(bare, "ns/P384")
			b.ReportMetric(own/bare, "×P384")
		})
	}
}

// TestSNPAllocates holds verification to its bounds: 64 KiB with a cached
// chain. Go's RSA alone takes 61 KiB for the one signature that is left cold.
func TestSNPAllocates(t *testing.T) {
	ev := benchSNP(t)
	o := Options{Time: snpTime, Policy: lenient()}
	verifier := NewVerifier(CacheOptions{})
	for name, row := range map[string]struct {
		run   func(vm.Evidence, Options) (vm.Verdict, error)
		bound uint64
	}{"cold": {Verify, 112 << 10}, "cached": {verifier.Verify, 64 << 10}} {
		const runs = 20
		run := row.run
		var before, after runtime.MemStats
		_, _ = run(ev, o)
		runtime.ReadMemStats(&before)
		for range runs {
			if _, err := run(ev, o); err != nil {
				t.Fatal(err)
			}
		}
		runtime.ReadMemStats(&after)
		each := (after.TotalAlloc - before.TotalAlloc) / runs
		t.Logf("%s: %d bytes a verification", name, each)
		if each > row.bound {
			t.Errorf("%s: %d bytes are allocated for one verification, want at most %d", name, each, row.bound)
		}
	}
}
