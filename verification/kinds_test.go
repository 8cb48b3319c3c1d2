package verification_test

import (
	"crypto/x509"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/attest/nvidia"
	"github.com/secretvm/secretvm/attest/nvidia/nvidiatest"
	"github.com/secretvm/secretvm/attest/snp"
	"github.com/secretvm/secretvm/attest/snp/snptest"
	"github.com/secretvm/secretvm/attest/tdx/collateral"
	"github.com/secretvm/secretvm/tee/soft/emulator"
	"github.com/secretvm/secretvm/verification"
	"github.com/secretvm/secretvm/verification/machinetest"
	"github.com/secretvm/secretvm/vm"
)

// snpMachine answers over our connection with a report of a development chip.
func snpMachine(t *testing.T) (verification.Answer, verification.Wanted, vm.SNPFacts) {
	t.Helper()
	now := time.Now()
	m, err := snptest.Issue(snptest.Plan{Line: snp.Milan, TCB: snp.TCB{Bootloader: 200, TEE: 200, SNP: 200, Microcode: 255}, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	report := m.Report()
	data := vm.AttestationReportData(ourKey, ourNonce)
	copy(report[snptest.ReportData:], data[:])
	ev := vm.Evidence{TEE: vm.SNP, Quote: m.Sign(report), AMD: &m.Collateral}
	facts := vm.SNPFacts{Measurement: vm.Register(report[snptest.Measurement:][:48]), HostData: vm.Hash(report[snptest.HostData:][:32])}
	return verification.Answer{URL: "https://vm.example:29343", TLSKey: ourKey, Nonce: ourNonce, Asked: now, Attestation: vm.Attestation{TLSKey: ourKey, Evidence: ev}},
		verification.Wanted{Time: now, Roots: []*x509.Certificate{m.Root}}, facts
}

// TestSNP: launch digest and HOST_DATA are all that is measured, and both must
// be named before anything is verified.
func TestSNP(t *testing.T) {
	a, base, facts := snpMachine(t)
	for _, c := range []struct {
		name    string
		wish    func(*verification.Wanted)
		verdict string
		failing []string
	}{
		{"V2: nothing named", func(*verification.Wanted) {}, verification.UnverifiedWorkload, nil},
		{"launch alone", func(w *verification.Wanted) { w.Wishes.Launch = []vm.Register{facts.Measurement} }, verification.UnverifiedWorkload, nil},
		{"both", func(w *verification.Wanted) {
			w.Wishes.Launch, w.Wishes.HostData = []vm.Register{{1}, facts.Measurement}, &facts.HostData
		}, verification.Verified, nil},
		{"another launch", func(w *verification.Wanted) {
			w.Wishes.Launch, w.Wishes.HostData = []vm.Register{{1}}, &facts.HostData
		}, verification.NotVerified, []string{"launch"}},
		{"other HOST_DATA", func(w *verification.Wanted) {
			w.Wishes.Launch, w.Wishes.HostData = []vm.Register{facts.Measurement}, &vm.Hash{1}
		}, verification.NotVerified, []string{"workload"}},
		{"a compose file that nothing measures", func(w *verification.Wanted) {
			w.Compose, w.Wishes.Launch = []byte("services: {}"), []vm.Register{facts.Measurement}
		}, verification.NotVerified, []string{"workload"}},
		{"an image for TDX", func(w *verification.Wanted) {
			m := machinetest.Manifest(vm.Hash{1})
			w.Manifest = &m
		}, verification.NotVerified, []string{"launch"}},
		{"S1: root not named", func(w *verification.Wanted) { w.Roots = nil }, verification.NotVerified, []string{"quote"}},
		{"too old", func(w *verification.Wanted) {
			w.Policy.SNP.MinimumTCB = map[snp.Product]snp.TCB{snp.ProductMilan: {SNP: 250}}
		}, verification.NotVerified, []string{"platform"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := base
			c.wish(&want)
			r := verification.Appraise(a, want)
			var failing []string
			for _, check := range r.Checks {
				if check.OK == verification.Fails {
					failing = append(failing, check.Name)
				}
			}
			if r.Verdict != c.verdict || !slices.Equal(failing, c.failing) {
				t.Errorf("%s (%s), failing %q, want %s, %q", r.Verdict, r.Summary, failing, c.verdict, c.failing)
			}
			if r.Verdict != verification.NotVerified && (!r.Soft || !strings.Contains(r.Check("quote").What, "YOU named")) {
				t.Errorf("a development chip is not shouted: %+v", r.Check("quote"))
			}
		})
	}
}

// TestGPU: devices that came along have a line of their own; a policy that
// wants one refuses machines without.
func TestGPU(t *testing.T) {
	m := machinetest.Boot(t)
	a, want := answer(t, m, ourKey, ourNonce), everything(m)
	if r := verification.Appraise(a, want); r.Check("gpu").What != "" {
		t.Errorf("a line about no GPU: %+v", r.Check("gpu"))
	}
	want.Policy.GPU.GPUs = 1
	if r := verification.Appraise(a, want); r.Check("gpu").Code != vm.CodeGPU || r.Verdict != verification.NotVerified {
		t.Errorf("none came: %s: %s", r.Verdict, r.Summary)
	}
	p, err := nvidiatest.New(want.Time)
	if err != nil {
		t.Fatal(err)
	}
	device, err := p.Device(nvidia.KindGPU, "GH100")
	if err != nil {
		t.Fatal(err)
	}
	nonce := vm.GPUNonce(vm.AttestationReportData(ourKey, ourNonce))
	shown, err := device.Evidence(nonce[:], nil)
	if err != nil {
		t.Fatal(err)
	}
	a.Attestation.Evidence.GPU = &vm.GPUEvidence{Nonce: nonce[:], Devices: []vm.GPUDevice{shown}}
	want.Roots = append(want.Roots, p.Roots()...)
	want.Policy.GPU.Unmeasured, want.Policy.GPU.Unchecked = true, true
	r := verification.Appraise(a, want)
	if g := r.Check("gpu"); g.OK != verification.Holds || !strings.Contains(g.What, "HOPPER") || !strings.Contains(g.What, "not compared with NVIDIA's reference documents") {
		t.Errorf("%s: %s; %+v", r.Verdict, r.Summary, g)
	}
	a.Attestation.Evidence.GPU.Devices[0].Evidence[60] ^= 1
	if r := verification.Appraise(a, want); r.Verdict != verification.NotVerified {
		t.Errorf("changed evidence: %s: %s", r.Verdict, r.Summary)
	}
}

// TestGPUOfTheConfiguration: what the measured configuration promises must be
// there.
func TestGPUOfTheConfiguration(t *testing.T) {
	m := machinetest.Boot(t, func(s *machinetest.Spec) { s.Config.GPU = "attest" })
	if r := verification.Appraise(answer(t, m, ourKey, ourNonce), everything(m)); r.Check("gpu").Code != vm.CodeGPU {
		t.Errorf("%s: %s", r.Verdict, r.Summary)
	}
}

// TestEarlyWarning: a platform that the next TCB recovery puts out of date is
// warned of, and verified all the same.
func TestEarlyWarning(t *testing.T) {
	m := machinetest.Boot(t)
	a, want := answer(t, m, ourKey, ourNonce), everything(m)
	plan := emulator.DefaultPlan(want.Time)
	plan.TCBInfo.TCBEvaluationDataNumber, plan.QEIdentity.TCBEvaluationDataNumber = 2, 2
	plan.TCBInfo.TCBLevels[0].TCBStatus, plan.TCBInfo.TCBLevels[0].AdvisoryIDs = collateral.OutOfDate, []string{"INTEL-SA-00009"}
	early, err := m.PKI.Issue(plan)
	if err != nil {
		t.Fatal(err)
	}
	want.Early = &early
	r := verification.Appraise(a, want)
	if r.Verdict != verification.Verified || !slices.ContainsFunc(r.Warnings, func(w string) bool {
		return strings.Contains(w, "the next TCB recovery (evaluation 2) will say OutOfDate, advisories INTEL-SA-00009")
	}) {
		t.Errorf("%s: %s; warnings %q", r.Verdict, r.Summary, r.Warnings)
	}
}

// TestExplainKernel: with a boot log and the image's files, the very event that
// differs is named.
func TestExplainKernel(t *testing.T) {
	event := func(register int, name, about string, digest byte) vm.Event {
		return vm.Event{Register: register, Name: name, Payload: []byte(about), Digest: vm.Register{digest}}
	}
	predicted := []vm.Event{event(1, "kernel", "linux 7.3.4", 1), event(1, "separator", "", 2), event(2, "command-line", "console=ttyS0", 3)}
	r := verification.Report{Verdict: verification.NotVerified, Machine: &vm.Verdict{}, Checks: []verification.Check{
		{Name: "kernel", OK: verification.Fails, What: "the kernel is another", Code: vm.CodeImage},
	}}
	for i, e := range predicted {
		seen := vm.BootEvent{Register: e.Register, Name: e.Name, Description: string(e.Payload), Digest: e.Digest}
		if i == 2 {
			seen.Description, seen.Digest = "console=ttyS0 init=/bin/sh", vm.Register{9}
		}
		r.Machine.BootLog = append(r.Machine.BootLog, seen)
	}
	reasons := verification.Explain(verification.Answer{}, verification.Wanted{}, r, predicted)
	if len(reasons) != 1 || len(reasons[0].Differences) != 1 || !strings.Contains(reasons[0].Differences[0].String(), "init=/bin/sh") {
		t.Errorf("%+v", reasons)
	}
	if reasons := verification.Explain(verification.Answer{}, verification.Wanted{}, r, nil); !strings.Contains(reasons[0].Unknown, "--image") {
		t.Errorf("without the files: %+v", reasons)
	}
}
