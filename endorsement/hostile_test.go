package endorsement_test

import (
	"context"
	"encoding/hex"
	"testing"

	"github.com/secretvm/secretvm/attest"
	"github.com/secretvm/secretvm/attest/nvidia/nvidiatest"
	"github.com/secretvm/secretvm/attest/snp"
	"github.com/secretvm/secretvm/attest/snp/snptest"
	"github.com/secretvm/secretvm/endorsement"
	"github.com/secretvm/secretvm/endorsement/endorsementtest"
	"github.com/secretvm/secretvm/tee/soft/emulator"
	"github.com/secretvm/secretvm/vm"
)

// A service with a PKI of its own says that a platform is fine. Whoever
// fetched that is refused; asking an honest service anew mends the cache.
func TestK7_LyingService(t *testing.T) {
	pki, err := emulator.NewPKI(july)
	if err != nil {
		t.Fatal(err)
	}
	plan := emulator.DefaultPlan(july)
	plan.TCBInfo.FMSPC = []byte{0xb0, 0xc0, 0x6f, 0, 0, 0}
	forged, err := pki.Issue(plan)
	if err != nil {
		t.Fatal(err)
	}
	liar := endorsementtest.Start(t)
	liar.PutIntel("tdx", fmspc, "platform", "", forged)
	b := newBed(t)
	o := b.options
	o.Addresses = liar.Addresses()
	for range 2 { // the second time from the cache: it is as little believed
		if _, err := attest.Verify(complete(t, o), attest.Options{Time: july}); vm.CodeOf(err) == "" || vm.CodeOf(err) == vm.CodeInternal {
			t.Fatalf("forged collateral: %v", err)
		}
	}
	honest := b.options
	honest.Refresh = true
	if _, err := attest.Verify(complete(t, honest), attest.Options{Time: july}); err != nil {
		t.Errorf("after asking anew: %v", err)
	}
	if _, err := attest.Verify(complete(t, b.options), attest.Options{Time: july}); err != nil {
		t.Errorf("from the cache: %v", err)
	}
}

// Whoever makes evidence puts addresses into its certificates: nobody asks
// them, because that would tell on the verifier, and reach into its network.
func TestV3_AddressesInEvidence(t *testing.T) {
	trap := endorsementtest.Start(t)
	pki, err := nvidiatest.New(july)
	if err != nil {
		t.Fatal(err)
	}
	template := nvidiatest.Template(july, "development GH100 Identity", true)
	template.OCSPServer, template.CRLDistributionPoints, template.IssuingCertificateURL = []string{trap.URL}, []string{trap.URL}, []string{trap.URL}
	if pki.Identity, err = pki.Issue(template, &pki.DeviceRoot); err != nil {
		t.Fatal(err)
	}
	device, err := pki.Device("gpu", "GH100")
	if err != nil {
		t.Fatal(err)
	}
	shown, err := device.Evidence(make([]byte, 32), nil)
	if err != nil {
		t.Fatal(err)
	}
	s := endorsementtest.Start(t)
	ev := vm.Evidence{Quote: quote(t), GPU: &vm.GPUEvidence{Nonce: make([]byte, 32), Devices: []vm.GPUDevice{shown}}}
	o := endorsement.Options{Addresses: s.Addresses(), Time: july, Client: hasty()}
	if err := endorsement.Complete(context.Background(), &ev, o); err == nil {
		t.Fatal("completed by services that have nothing")
	}
	if trap.Asked("") != 0 || s.Asked("") == 0 {
		t.Errorf("the evidence's addresses were asked %d times, the services %d times", trap.Asked(""), s.Asked(""))
	}
}

// What is not of the form that a vendor uses becomes part of no address.
func TestV3_OddEvidence(t *testing.T) {
	s := endorsementtest.Start(t)
	o := endorsement.Options{Addresses: s.Addresses(), Time: july, Client: hasty()}
	m, err := snptest.Issue(snptest.Plan{Line: snp.Milan, Now: july})
	if err != nil {
		t.Fatal(err)
	}
	unknown := m.Report()
	unknown[snptest.CPUID] = 0x55
	for name, ev := range map[string]vm.Evidence{
		"nothing":           {},
		"noise":             {Quote: []byte("noise")},
		"truncated":         {Quote: quote(t)[:1000]},
		"version 3":         {Quote: append([]byte{3, 0}, quote(t)[2:]...)},
		"TDX labelled SNP":  {TEE: vm.SNP, Quote: quote(t)},
		"unknown processor": {TEE: vm.SNP, Quote: unknown},
		"broken VLEK":       {TEE: vm.SNP, Quote: m.Report(), AMD: &vm.AMDCollateral{EndorsementKey: []byte{1}}},
		"GPU of nobody":     {TEE: vm.SNP, GPU: &vm.GPUEvidence{Devices: []vm.GPUDevice{{Kind: "gpu"}}}},
	} {
		err := endorsement.Complete(context.Background(), &ev, o)
		if code := vm.CodeOf(err); err == nil || code == vm.CodeInternal {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, p := range []endorsement.IntelPlatform{
		{TEE: "tdx", FMSPC: "../../../../", CA: "platform"}, {TEE: "tdx", FMSPC: fmspc, CA: "x&y=z"}, {TEE: "../sgx", FMSPC: fmspc, CA: "platform"},
	} {
		if _, err := endorsement.Intel(context.Background(), p, o); vm.CodeOf(err) != vm.CodeInvalid || p.Check() == nil {
			t.Errorf("%+v: %v", p, err)
		}
	}
	for _, asked := range []string{"..", "x&y", hex.EncodeToString([]byte("noise"))} {
		if s.Asked(asked) != 0 {
			t.Errorf("asked for %q", asked)
		}
	}
}

func BenchmarkCompleteFromCache(b *testing.B) {
	bed := newBed(b)
	complete(b, bed.options)
	bed.options.Offline = true
	for b.Loop() {
		complete(b, bed.options)
	}
}
