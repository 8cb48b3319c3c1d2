package verification_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/verification"
	"github.com/secretvm/secretvm/verification/machinetest"
	"github.com/secretvm/secretvm/vm"
)

var (
	ourNonce   = bytes.Repeat([]byte{7}, verification.NonceSize)
	theirNonce = bytes.Repeat([]byte{9}, verification.NonceSize)
	ourKey     = vm.HashOf([]byte("key of our connection"))
	theirKey   = vm.HashOf([]byte("key of another connection"))
)

// answer is what m's service would say to nonce over the TLS key.
func answer(t *testing.T, m *machinetest.Machine, key vm.Hash, nonce []byte) verification.Answer {
	t.Helper()
	ev, err := m.TEE.Quote(vm.AttestationReportData(key, nonce))
	if err != nil {
		t.Fatal(err)
	}
	ev.Events = m.Events
	return verification.Answer{
		URL: "https://vm.example:29343", TLSKey: key, Nonce: nonce, Took: 41 * time.Millisecond, Config: m.Canonical,
		Attestation: vm.Attestation{Nonce: hex.EncodeToString(nonce), TLSKey: key, Evidence: ev},
	}
}

// everything is a caller who wants just this machine.
func everything(m *machinetest.Machine) verification.Wanted {
	return verification.Wanted{
		Compose: m.Compose, Files: m.Files, Manifest: &m.Manifest, Service: m.Config.Service, GroupKey: m.Config.KMS.GroupKey,
		Roots: m.Roots(), Time: time.Now(),
	}
}

func TestVerified(t *testing.T) {
	for name, change := range map[string]func(*machinetest.Spec){
		"plain":      func(*machinetest.Spec) {},
		"with files": func(s *machinetest.Spec) { s.Files = []byte("an archive") },
	} {
		m := machinetest.Boot(t, change)
		r := verification.Appraise(answer(t, m, ourKey, ourNonce), everything(m))
		if r.Verdict != verification.Verified || !r.Soft || r.Anchor == nil || r.Anchor.Intel {
			t.Errorf("%s: %s (%s), soft %v, anchor %v", name, r.Verdict, r.Summary, r.Soft, r.Anchor)
		}
		for _, c := range r.Checks {
			if c.OK != verification.Holds {
				t.Errorf("%s: %s is %v: %s %s", name, c.Name, c.OK, c.What, c.Detail)
			}
		}
		if len(r.Checks) != 11 {
			t.Errorf("%s: %d checks, want 11", name, len(r.Checks))
		}
	}
}

// TestV2_NothingToCompareWith: genuine evidence alone never verifies a
// workload, and no comparison is claimed that was not made.
func TestV2_NothingToCompareWith(t *testing.T) {
	for _, c := range []struct {
		name    string
		boot    func(*machinetest.Spec)
		wish    func(*verification.Wanted)
		verdict string
		open    []string
		summary string
	}{
		{
			"nothing", nil, func(w *verification.Wanted) { *w = verification.Wanted{Roots: w.Roots, Time: w.Time} }, verification.UnverifiedWorkload,
			[]string{"firmware", "kernel", "hardware", "system", "workload", "configuration"},
			"--compose and --manifest",
		},
		{
			"compose only", nil, func(w *verification.Wanted) { w.Manifest = nil }, verification.UnverifiedWorkload,
			[]string{"firmware", "kernel", "hardware", "system"},
			"--manifest",
		},
		{"manifest only", nil, func(w *verification.Wanted) { w.Compose = nil }, verification.UnverifiedWorkload, []string{"workload"}, "--compose"},
		{
			"files not passed", func(s *machinetest.Spec) { s.Files = []byte("theirs") }, func(w *verification.Wanted) { w.Files = nil },
			verification.UnverifiedWorkload,
			[]string{"workload"},
			"--files",
		},
		{"service not passed", nil, func(w *verification.Wanted) { w.Service = "" }, verification.Verified, []string{"configuration"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.boot == nil {
				c.boot = func(*machinetest.Spec) {}
			}
			m := machinetest.Boot(t, c.boot)
			want := everything(m)
			c.wish(&want)
			r := verification.Appraise(answer(t, m, ourKey, ourNonce), want)
			if r.Verdict != c.verdict || !strings.Contains(r.Summary, c.summary) {
				t.Errorf("%s (%s), want %s (%s)", r.Verdict, r.Summary, c.verdict, c.summary)
			}
			var open []string
			for _, check := range r.Checks {
				switch check.OK {
				case verification.Open:
					open = append(open, check.Name)
				case verification.Fails:
					t.Errorf("%s fails: %s", check.Name, check.What)
				}
			}
			if !slices.Equal(open, c.open) {
				t.Errorf("open checks are %q, want %q", open, c.open)
			}
		})
	}
}

func TestW1_TagsAreWarnedOf(t *testing.T) {
	m := machinetest.Boot(t, func(s *machinetest.Spec) { s.Config.Images = "tag" })
	r := verification.Appraise(answer(t, m, ourKey, ourNonce), everything(m))
	if len(r.Warnings) != 2 || !strings.Contains(r.Warnings[1], "tag") {
		t.Errorf("warnings are %q", r.Warnings)
	}
}

// TestW2_TrustedContainersAreWarnedOf: who may have the TEE could quote anything,
// and its reader is told; as where the images of a file with tags are named.
func TestW2_TrustedContainersAreWarnedOf(t *testing.T) {
	m := machinetest.Boot(t, func(s *machinetest.Spec) {
		s.Config.Privileged, s.Config.Pins = []string{"agent"}, vm.Pins{"redis:7": vm.HashOf(nil)}
	})
	r := verification.Appraise(answer(t, m, ourKey, ourNonce), everything(m))
	if r.Verdict != verification.Verified || len(r.Warnings) != 3 || !strings.Contains(r.Warnings[1], "services agent") || !strings.Contains(r.Warnings[2], "which 1 container images") {
		t.Errorf("%s: warnings are %q", r.Verdict, r.Warnings)
	}
}

// TestContractAsKeyManagerIsWarnedOf: a machine with the keys of another system
// is verified like any, and its reader is told what that key manager lacks.
func TestContractAsKeyManagerIsWarnedOf(t *testing.T) {
	pin := strings.Repeat("5c", 32)
	m := machinetest.Boot(t, func(s *machinetest.Spec) {
		s.Config.Service = "secret1w500qy39wtwaghwn9e5qu5sx23k2xtjfkj20as/guestbook"
		s.Config.KMS = vm.KMS{ChainID: "secret-4", Provider: vm.ProviderSecretNetwork, Contract: &vm.Contract{CodeHash: pin, ConsensusKey: pin}}
	})
	want := everything(m)
	want.GroupKey = ""
	r := verification.Appraise(answer(t, m, ourKey, ourNonce), want)
	weaknesses := m.Config.KMS.Weaknesses()
	if r.Verdict != verification.Verified || len(weaknesses) != 5 || len(r.Warnings) != 1+len(weaknesses) {
		t.Fatalf("%s: %s; warnings are %q", r.Verdict, r.Summary, r.Warnings)
	}
	if w := r.Warnings[1]; !strings.HasPrefix(w, "keys from secret-network: one secret in every enclave") {
		t.Errorf("warning is %q", w)
	}
	if c := r.Check("configuration"); !strings.Contains(c.What, "KMS secret-4 secret-network") {
		t.Errorf("configuration is %q", c.What)
	}
}

func TestReportAsJSON(t *testing.T) {
	m := machinetest.Boot(t)
	want := everything(m)
	want.Compose = []byte("other")
	want.Service = ""
	b, err := json.Marshal(verification.Appraise(answer(t, m, ourKey, ourNonce), want))
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Verdict string
		Soft    bool
		Checks  []struct {
			Name, What, Code string
			OK               *bool
			Refusal          *vm.Refusal
		}
	}
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	outcomes := map[string]string{}
	for _, c := range got.Checks {
		outcomes[c.Name] = "null"
		if c.OK != nil {
			outcomes[c.Name] = map[bool]string{true: "true", false: "false"}[*c.OK]
		}
		if c.Name == "workload" && (c.Code != string(vm.CodeCompose) || c.Refusal == nil || c.Refusal.Hint == "") {
			t.Errorf("workload: code %q, refusal %+v", c.Code, c.Refusal)
		}
	}
	if outcomes["workload"] != "false" || outcomes["configuration"] != "null" || outcomes["quote"] != "true" || !got.Soft {
		t.Errorf("%s", b)
	}
}
