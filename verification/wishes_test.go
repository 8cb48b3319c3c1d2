package verification_test

import (
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/verification"
	"github.com/secretvm/secretvm/verification/machinetest"
	"github.com/secretvm/secretvm/vm"
)

// registersOf m, as a caller would name them.
func registersOf(m *machinetest.Machine) verification.Registers {
	r := m.TEE.Read()
	return verification.Registers{MRTD: r.MRTD, RTMR0: r.RTMR[0], RTMR1: r.RTMR[1], RTMR2: r.RTMR[2], RTMR3: &r.RTMR[3]}
}

// TestV1_AMissIsAMiss: registers hold only as one named set, whole: not when
// each is known from another machine, and not when one is unknown.
func TestV1_AMissIsAMiss(t *testing.T) {
	m := machinetest.Boot(t)
	a := answer(t, m, ourKey, ourNonce)
	whole := registersOf(m)
	half, otherHalf := whole, whole
	half.RTMR1, otherHalf.RTMR0 = vm.Register{1}, vm.Register{1}
	for _, c := range []struct {
		name    string
		known   []verification.Registers
		verdict string
		failing string
	}{
		{"the whole set", []verification.Registers{half, whole}, verification.Verified, ""},
		{"two halves", []verification.Registers{half, otherHalf}, verification.NotVerified, "hardware"},
		{"another kernel", []verification.Registers{half}, verification.NotVerified, "kernel"},
	} {
		r := verification.Appraise(a, verification.Wanted{Roots: m.Roots(), Time: time.Now(), Wishes: verification.Wishes{Registers: c.known}})
		if r.Verdict != c.verdict || c.failing != "" && r.Check(c.failing).OK != verification.Fails {
			t.Errorf("%s: %s: %s", c.name, r.Verdict, r.Summary)
		}
	}
	known := whole
	known.RTMR3 = nil // then the workload is open, and open is not verified
	r := verification.Appraise(a, verification.Wanted{Roots: m.Roots(), Time: time.Now(), Wishes: verification.Wishes{Registers: []verification.Registers{known}}})
	if r.Verdict != verification.UnverifiedWorkload || !strings.Contains(r.Summary, "--compose") {
		t.Errorf("without RTMR3: %s: %s", r.Verdict, r.Summary)
	}
}

// TestHashesStandForFiles: a policy may name digests in place of files.
func TestHashesStandForFiles(t *testing.T) {
	m := machinetest.Boot(t, func(s *machinetest.Spec) { s.Files = []byte("an archive") })
	a, want := answer(t, m, ourKey, ourNonce), everything(m)
	compose, files := vm.HashOf(m.Compose), vm.HashOf(m.Files)
	want.Compose, want.Files, want.Wishes = nil, nil, verification.Wishes{ComposeHash: &compose, FilesHash: &files}
	if r := verification.Appraise(a, want); r.Verdict != verification.Verified {
		t.Errorf("%s: %s", r.Verdict, r.Summary)
	}
	want.Wishes.FilesHash = &compose
	if r := verification.Appraise(a, want); r.Check("workload").Code != vm.CodeCompose {
		t.Errorf("another archive: %s: %s", r.Verdict, r.Summary)
	}
}

// TestA3_FilesShowNoConnection: evidence from a file never shows a connection
// or freshness, whatever the file claims, and a policy can insist on both.
func TestA3_FilesShowNoConnection(t *testing.T) {
	m := machinetest.Boot(t)
	a, want := answer(t, m, ourKey, ourNonce), everything(m)
	file := verification.Answer{Attestation: a.Attestation, Config: a.Config}
	r := verification.Appraise(file, want)
	if r.Check("connection").OK != verification.Open || r.Check("fresh").OK != verification.Open || strings.Contains(r.Summary, "this VM") {
		t.Errorf("%s: %s", r.Verdict, r.Summary)
	}
	file.Attestation.TLSKey = theirKey // a claim that the quote does not bear out
	if r := verification.Appraise(file, want); r.Check("connection").Code != vm.CodeReportData {
		t.Errorf("another key: %s", r.Summary)
	}
	file.Attestation.TLSKey = ourKey
	want.Wishes.Fresh = true
	if r := verification.Appraise(file, want); r.Check("connection").Code != vm.CodeStale || r.Check("fresh").Code != vm.CodeStale {
		t.Errorf("freshness wanted: %s", r.Summary)
	}
	if r := verification.Appraise(a, want); r.Verdict != verification.Verified {
		t.Errorf("over a connection: %s", r.Summary)
	}
	a.Recorded = true
	if r := verification.Appraise(a, want); r.Check("fresh").Code != vm.CodeStale {
		t.Errorf("from a bundle: %s", r.Summary)
	}
}

// TestA1_OldAnswers: a policy bounds the time between asking and judging.
func TestA1_OldAnswers(t *testing.T) {
	m := machinetest.Boot(t)
	a, want := answer(t, m, ourKey, ourNonce), everything(m)
	want.Wishes.MaxAge = time.Minute
	for _, c := range []struct {
		name  string
		asked time.Time
		ok    verification.Outcome
	}{
		{"just now", want.Time.Add(-time.Second), verification.Holds},
		{"long ago", want.Time.Add(-time.Hour), verification.Fails},
		{"in the future", want.Time.Add(time.Hour), verification.Fails},
		{"nobody knows", time.Time{}, verification.Fails},
	} {
		a.Asked = c.asked
		if r := verification.Appraise(a, want); r.Check("fresh").OK != c.ok {
			t.Errorf("%s: %s: %s", c.name, r.Verdict, r.Summary)
		}
	}
}

// TestV2_KindIsCompared: a policy names the kinds of machine that it accepts.
func TestV2_KindIsCompared(t *testing.T) {
	m := machinetest.Boot(t)
	a, want := answer(t, m, ourKey, ourNonce), everything(m)
	want.Wishes.TEEs = []vm.TEE{vm.TDX, vm.SNP}
	if r := verification.Appraise(a, want); r.Check("quote").Code != vm.CodePolicy {
		t.Errorf("%s: %s", r.Verdict, r.Summary)
	}
	want.Wishes.TEEs = []vm.TEE{vm.Soft}
	if r := verification.Appraise(a, want); r.Verdict != verification.Verified {
		t.Errorf("%s: %s", r.Verdict, r.Summary)
	}
}

// TestExplain: what differs is named event by event, and what cannot be known
// is said.
func TestExplain(t *testing.T) {
	m := machinetest.Boot(t)
	a, want := answer(t, m, ourKey, ourNonce), everything(m)
	want.Compose = []byte("services: {}\n")
	other := machinetest.Manifest(m.Root)
	for i := range other.Predictions {
		other.Predictions[i].RTMR1 = vm.Register{9}
	}
	want.Manifest = &other
	r := verification.Appraise(a, want)
	var text strings.Builder
	reasons := verification.Explain(a, want, r, nil)
	if err := verification.WriteReasons(&text, r, reasons); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"✗ workload: ", "compose-hash is another one", "[compose-mismatch]", "✗ kernel: ", "the machine did not send its boot log", "means   Registers or root file system",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the explanation lacks %q:\n%s", want, &text)
		}
	}
	for _, reason := range reasons {
		if reason.Check.Name == "workload" && len(reason.Differences) != 2 { // the config names the compose file too
			t.Errorf("differences are %v", reason.Differences)
		}
	}
}

// TestB7_FilesWithoutConfig: evidence whose config is not at hand still has the
// events of one boot, and none behind it.
func TestB7_FilesWithoutConfig(t *testing.T) {
	for _, c := range []struct {
		name    string
		events  func([]vm.Event) []vm.Event
		verdict string
	}{
		{"one boot", func(e []vm.Event) []vm.Event { return e }, verification.Verified},
		{"an event behind it", func(e []vm.Event) []vm.Event { return append(e[:len(e):len(e)], vm.RuntimeEvent("more", nil)) }, verification.NotVerified},
		{"not complete", func(e []vm.Event) []vm.Event { return e[:len(e)-1] }, verification.NotVerified},
	} {
		m := machinetest.Boot(t, func(s *machinetest.Spec) { s.Measured = c.events })
		a, want := answer(t, m, ourKey, ourNonce), everything(m)
		if r := verification.Appraise(verification.Answer{Attestation: a.Attestation}, want); r.Check("configuration").Code != vm.CodeConfig {
			t.Errorf("%s, with a service: %+v", c.name, r.Check("configuration"))
		}
		want.Service, want.GroupKey = "", ""
		r := verification.Appraise(verification.Answer{Attestation: a.Attestation}, want)
		if r.Verdict != c.verdict || r.Check("configuration").OK != verification.Open {
			t.Errorf("%s: %s: %s", c.name, r.Verdict, r.Summary)
		}
	}
}
