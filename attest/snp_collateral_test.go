package attest

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/secretvm/secretvm/attest/snp"
	"github.com/secretvm/secretvm/attest/snp/snptest"
	"github.com/secretvm/secretvm/vm"
)

// TestK7_SNPCollateral gives a sound report with certificates and lists
// that are missing, mixed up or somebody else's.
func TestK7_SNPCollateral(t *testing.T) {
	b := sharedBed(t)
	genoa := newSNPBed(t, snp.Genoa, nil)
	foreign := newSNPBed(t, snp.Milan, func(p *snptest.Plan) { p.RootKey, p.IssuerKey = snptest.OtherKey(), snptest.OtherKey() })
	halfway := newSNPBed(t, snp.Milan, func(p *snptest.Plan) { p.IssuerKey = snptest.OtherKey() })
	twin := newSNPBed(t, snp.Milan, nil) // same names and CA key, another endorsement key
	b.options.Roots = []*x509.Certificate{b.machine.Root, genoa.machine.Root}
	for _, row := range []struct {
		name   string
		change func(*vm.Evidence)
		code   vm.Code
		say    string
	}{
		{"none", func(ev *vm.Evidence) { ev.AMD = nil }, vm.CodeCollateral, "without the certificate"},
		{"no endorsement key", func(ev *vm.Evidence) { ev.AMD.EndorsementKey = nil }, vm.CodeCollateral, "without the certificate"},
		{"garbage for a key", func(ev *vm.Evidence) { ev.AMD.EndorsementKey = []byte("garbage") }, vm.CodeMalformed, "endorsement key"},
		{"key in PEM", func(ev *vm.Evidence) {
			ev.AMD.EndorsementKey = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ev.AMD.EndorsementKey})
		}, vm.CodeMalformed, "endorsement key"},
		{"key with bytes behind it", func(ev *vm.Evidence) { ev.AMD.EndorsementKey = append(slices.Clone(ev.AMD.EndorsementKey), 0) }, vm.CodeMalformed, "trailing"},
		{"the issuer as key", func(ev *vm.Evidence) { ev.AMD.EndorsementKey = b.machine.Issuer.Raw }, vm.CodeChain, "endorsement key"},
		{"another key of the same chip", func(ev *vm.Evidence) { ev.AMD.EndorsementKey = twin.machine.Collateral.EndorsementKey }, vm.CodeSignature, "signature of the report"},
		{"a key of another product, with its chain", func(ev *vm.Evidence) { *ev.AMD = genoa.machine.Collateral }, vm.CodeCollateral, "another product"},
		{"garbage for a chain", func(ev *vm.Evidence) { ev.AMD.Chain = []byte("garbage") }, vm.CodeMalformed, "PEM"},
		{"chain of three", func(ev *vm.Evidence) {
			ev.AMD.Chain = snptest.Bundle(b.machine.Issuer, b.machine.Issuer, b.machine.Root)
		}, vm.CodeMalformed, "3 certificates"},
		{"chain the wrong way round", func(ev *vm.Evidence) { ev.AMD.Chain = snptest.Bundle(b.machine.Root, b.machine.Issuer) }, vm.CodeChain, "not trusted"},
		{"chain of another product", func(ev *vm.Evidence) { ev.AMD.Chain = genoa.machine.Collateral.Chain }, vm.CodeChain, "something else"},
		{"chain of somebody else", func(ev *vm.Evidence) { *ev.AMD = foreign.machine.Collateral }, vm.CodeChain, "not trusted"},
		{"somebody else's issuer without its root", func(ev *vm.Evidence) {
			*ev.AMD = foreign.machine.Collateral
			ev.AMD.Chain = snptest.Bundle(foreign.machine.Issuer)
		}, vm.CodeSignature, "SEV-Milan"},
		{"issuer of somebody else below our root", func(ev *vm.Evidence) {
			ev.AMD.Chain = snptest.Bundle(foreign.machine.Issuer, b.machine.Root)
		}, vm.CodeSignature, "SEV-Milan"},
		{"key that the issuer did not sign", func(ev *vm.Evidence) {
			ev.AMD.EndorsementKey = halfway.machine.Collateral.EndorsementKey
		}, vm.CodeSignature, "SEV-VCEK"},
		{"no chain, and a development issuer", func(ev *vm.Evidence) { ev.AMD.Chain = nil }, vm.CodeCollateral, "built in"},
		{"no list", func(ev *vm.Evidence) { ev.AMD.CRL = nil }, vm.CodeCollateral, "revocation list"},
		{"garbage for a list", func(ev *vm.Evidence) { ev.AMD.CRL = []byte("garbage") }, vm.CodeMalformed, "revocation list"},
		{"list of another root", func(ev *vm.Evidence) { ev.AMD.CRL = genoa.machine.Collateral.CRL }, vm.CodeCollateral, "another CA"},
		{"list of a namesake", func(ev *vm.Evidence) { ev.AMD.CRL = foreign.machine.Collateral.CRL }, vm.CodeSignature, "revocation list"},
		{"too much", func(ev *vm.Evidence) { ev.AMD.CRL = make([]byte, vm.MaxCollateralSize) }, vm.CodeTooLarge, "AMD collateral"},
		{"too long a report", func(ev *vm.Evidence) { ev.Quote = append(ev.Quote, make([]byte, vm.MaxQuoteSize)...) }, vm.CodeTooLarge, "quote"},
		{"an event list", func(ev *vm.Evidence) { ev.Events = []vm.Event{{}} }, vm.CodeEvents, "no registers"},
		{"a boot log", func(ev *vm.Evidence) { ev.BootLog = []byte{1} }, vm.CodeEvents, "no registers"},
	} {
		t.Run(row.name, func(t *testing.T) {
			ev := b.evidence()
			row.change(&ev)
			_, err := Verify(ev, b.options)
			r := refused(t, err, row.code)
			if !strings.Contains(r.Error(), row.say) {
				t.Errorf("refused with %q, want it to say %q", r.Error(), row.say)
			}
		})
	}
	if _, err := Verify(b.evidence(), Options{Time: now}); vm.CodeOf(err) != vm.CodeChain {
		t.Errorf("below AMD's roots: %v, want %s", err, vm.CodeChain)
	}
}

// TestK8_SNPFlips changes every byte of report, certificates and list: none of
// them passes. What an unused byte of PEM says is not looked at.
func TestK8_SNPFlips(t *testing.T) {
	b := sharedBed(t)
	sound := b.evidence()
	verifier := NewVerifier(CacheOptions{})
	check := func(what string, i int, ev vm.Evidence) {
		t.Helper()
		if _, err := verifier.Verify(ev, b.options); err == nil {
			t.Errorf("%s: accepted with byte %#x changed", what, i)
		}
	}
	flipped := func(b []byte, i int) []byte {
		b = bytes.Clone(b)
		b[i] ^= 1 << (i % 8)
		return b
	}
	if _, err := verifier.Verify(sound, b.options); err != nil {
		t.Fatal(err)
	}
	for i := range snp.ReportSize {
		ev := sound
		ev.Quote = flipped(sound.Quote, i)
		check("report", i, ev)
	}
	for i := range sound.AMD.EndorsementKey {
		ev, c := sound, *sound.AMD
		c.EndorsementKey = flipped(c.EndorsementKey, i)
		ev.AMD = &c
		check("endorsement key", i, ev)
	}
	for i := range b.machine.Issuer.Raw {
		ev, c := sound, *sound.AMD
		c.Chain = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: flipped(b.machine.Issuer.Raw, i)})
		ev.AMD = &c
		check("issuer", i, ev)
	}
	for i := range sound.AMD.CRL {
		ev, c := sound, *sound.AMD
		c.CRL = flipped(c.CRL, i)
		ev.AMD = &c
		check("revocation list", i, ev)
	}
}

// TestK7_SNPVerifierRemembersNothingElse gives a Verifier the same certificates
// under other terms, after it has found them to be genuine.
func TestK7_SNPVerifierRemembersNothingElse(t *testing.T) {
	b := sharedBed(t)
	ev := b.evidence()
	verifier := NewVerifier(CacheOptions{})
	same := func(name string, ev vm.Evidence, o Options) {
		t.Helper()
		cold, coldErr := Verify(ev, o)
		warm, warmErr := verifier.Verify(ev, o)
		if vm.CodeOf(coldErr) != vm.CodeOf(warmErr) || (coldErr == nil) != (warmErr == nil) || cold.ValidUntil != warm.ValidUntil || cold.HardwareID != warm.HardwareID || cold.Stale != warm.Stale {
			t.Errorf("%s: %v without memory, %v with", name, coldErr, warmErr)
		}
	}
	for range 2 {
		same("sound", ev, b.options)
		for name, change := range map[string]func(*vm.Evidence, *Options){
			"later":         func(_ *vm.Evidence, o *Options) { o.Time = now.AddDate(0, 0, 2) },
			"a year later":  func(_ *vm.Evidence, o *Options) { o.Time = now.AddDate(1, 0, 0) },
			"earlier":       func(_ *vm.Evidence, o *Options) { o.Time = now.AddDate(0, 0, -2) },
			"later, stale":  func(_ *vm.Evidence, o *Options) { o.Time, o.Policy.StaleCollateral = now.AddDate(0, 0, 2), 72*3600e9 },
			"AMD's roots":   func(_ *vm.Evidence, o *Options) { o.Roots = nil },
			"no list":       func(ev *vm.Evidence, _ *Options) { ev.AMD.CRL = nil },
			"list unwanted": func(ev *vm.Evidence, o *Options) { ev.AMD.CRL, o.Policy.SNP.WithoutCRL = nil, true },
			"another policy": func(_ *vm.Evidence, o *Options) {
				o.Policy.SNP.MinimumTCB = map[snp.Product]snp.TCB{snp.ProductMilan: {Microcode: 0xff}}
			},
			"nothing": func(ev *vm.Evidence, _ *Options) { ev.AMD = nil },
		} {
			ev, o := ev, b.options
			if ev.AMD != nil {
				c := *ev.AMD
				ev.AMD = &c
			}
			change(&ev, &o)
			same(name, ev, o)
		}
	}
}

// TestSNPConcurrently uses one Verifier from many goroutines.
func TestSNPConcurrently(t *testing.T) {
	b := sharedBed(t)
	ev := b.evidence()
	verifier := NewVerifier(CacheOptions{Chains: 1})
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 4 {
				if _, err := verifier.Verify(ev, b.options); err != nil {
					t.Error(err)
				}
				if _, err := verifier.Verify(ev, Options{Time: now, Roots: []*x509.Certificate{IntelRoot()}}); vm.CodeOf(err) != vm.CodeChain {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
}
