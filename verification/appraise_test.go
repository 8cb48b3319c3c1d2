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

// attack is one lie; exactly the checks in failing must notice it.
type attack struct {
	name    string
	boot    func(*machinetest.Spec)
	lie     func(*testing.T, *machinetest.Machine, *verification.Answer, *verification.Wanted)
	failing []string
	code    vm.Code
	text    string // in the report
}

func run(t *testing.T, attacks []attack) {
	t.Helper()
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			if a.boot == nil {
				a.boot = func(*machinetest.Spec) {}
			}
			m := machinetest.Boot(t, a.boot)
			ans, want := answer(t, m, ourKey, ourNonce), everything(m)
			if a.lie != nil {
				a.lie(t, m, &ans, &want)
			}
			r := verification.Appraise(ans, want)
			if r.Verdict != verification.NotVerified {
				t.Fatalf("verdict is %s, want %s", r.Verdict, verification.NotVerified)
			}
			var failing []string
			for _, c := range r.Checks {
				if c.OK == verification.Fails {
					failing = append(failing, c.Name)
				}
			}
			if !slices.Equal(failing, a.failing) {
				t.Errorf("failing checks are %q, want %q", failing, a.failing)
			}
			if len(failing) > 0 && r.Check(failing[0]).Code != a.code {
				t.Errorf("code is %q, want %q", r.Check(failing[0]).Code, a.code)
			}
			var text strings.Builder
			if err := r.WriteText(&text, false); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(text.String(), a.text) {
				t.Errorf("report lacks %q:\n%s", a.text, &text)
			}
		})
	}
}

// TestS1_SoftEvidenceNeedsTrustRoot: without its root named, soft evidence is
// refused; with another installation's root as well.
func TestS1_SoftEvidenceNeedsTrustRoot(t *testing.T) {
	run(t, []attack{
		{
			name: "no root", failing: []string{"quote"}, code: vm.CodeChain, text: "--trust-root FILE",
			lie: func(_ *testing.T, _ *machinetest.Machine, _ *verification.Answer, w *verification.Wanted) {
				w.Roots = nil
			},
		},
		{
			name: "root of another installation", failing: []string{"quote"}, code: vm.CodeChain, text: "SOFT TEE",
			lie: func(t *testing.T, _ *machinetest.Machine, _ *verification.Answer, w *verification.Wanted) {
				w.Roots = machinetest.Boot(t).Roots()
			},
		},
		{
			name: "labelled as real", failing: []string{"quote"}, code: vm.CodeChain, text: "NOT VERIFIED",
			lie: func(_ *testing.T, _ *machinetest.Machine, a *verification.Answer, w *verification.Wanted) {
				a.Attestation.Evidence.TEE, w.Roots = vm.TDX, nil
			},
		},
	})
	m := machinetest.Boot(t)
	a := answer(t, m, ourKey, ourNonce)
	a.Attestation.Evidence.TEE = vm.TDX // the label is a hint: the root decides what is shouted
	if r := verification.Appraise(a, everything(m)); !r.Soft || len(r.Warnings) == 0 || !strings.Contains(r.Summary, "SOFT TEE") {
		t.Errorf("soft evidence labelled as TDX is not shouted: %+v", r)
	}
}

func TestA1_ReplayedQuote(t *testing.T) {
	run(t, []attack{
		{
			name: "an old answer", failing: []string{"fresh"}, code: vm.CodeStale, text: "it was made before",
			lie: func(t *testing.T, m *machinetest.Machine, a *verification.Answer, _ *verification.Wanted) {
				*a = answer(t, m, ourKey, theirNonce)
				a.Nonce = ourNonce
			},
		},
		{
			name: "an old quote under our nonce", failing: []string{"connection", "fresh"}, code: vm.CodeReportData, text: "neither",
			lie: func(t *testing.T, m *machinetest.Machine, a *verification.Answer, _ *verification.Wanted) {
				*a = answer(t, m, ourKey, theirNonce)
				a.Nonce, a.Attestation.Nonce = ourNonce, hex.EncodeToString(ourNonce)
			},
		},
	})
}

func TestA3_RelayedEvidence(t *testing.T) {
	run(t, []attack{
		{
			name: "of another connection", failing: []string{"connection"}, code: vm.CodeReportData, text: "another TLS key",
			lie: func(t *testing.T, m *machinetest.Machine, a *verification.Answer, _ *verification.Wanted) {
				*a = answer(t, m, theirKey, ourNonce)
				a.TLSKey = ourKey
			},
		},
		{
			name: "with a forged claim", failing: []string{"connection", "fresh"}, code: vm.CodeReportData, text: "neither",
			lie: func(t *testing.T, m *machinetest.Machine, a *verification.Answer, _ *verification.Wanted) {
				*a = answer(t, m, theirKey, ourNonce)
				a.TLSKey, a.Attestation.TLSKey = ourKey, ourKey
			},
		},
		{
			name: "and old", failing: []string{"connection", "fresh"}, code: vm.CodeReportData, text: "another TLS key",
			lie: func(t *testing.T, m *machinetest.Machine, a *verification.Answer, _ *verification.Wanted) {
				*a = answer(t, m, theirKey, theirNonce)
				a.TLSKey, a.Nonce = ourKey, ourNonce
			},
		},
	})
}

func TestB2_ChangedCompose(t *testing.T) {
	run(t, []attack{
		{
			name: "one byte", failing: []string{"workload"}, code: vm.CodeCompose, text: "another compose file",
			lie: func(_ *testing.T, _ *machinetest.Machine, _ *verification.Answer, w *verification.Wanted) {
				w.Compose = append(slices.Clone(w.Compose), '\n')
			},
		},
		{
			name: "other files", failing: []string{"workload"}, code: vm.CodeCompose, text: "docker-files-hash",
			boot: func(s *machinetest.Spec) { s.Files = []byte("theirs") },
			lie: func(_ *testing.T, _ *machinetest.Machine, _ *verification.Answer, w *verification.Wanted) {
				w.Files = []byte("ours")
			},
		},
		{
			name: "files that the machine lacks", failing: []string{"workload"}, code: vm.CodeCompose, text: "absent",
			lie: func(_ *testing.T, _ *machinetest.Machine, _ *verification.Answer, w *verification.Wanted) {
				w.Files = []byte("ours")
			},
		},
		{
			name: "forged event", failing: []string{"boot"}, code: vm.CodeEvents, text: "RTMR3",
			lie: func(_ *testing.T, _ *machinetest.Machine, a *verification.Answer, w *verification.Wanted) {
				w.Compose = []byte("services: {}\n")
				h := vm.HashOf(w.Compose)
				a.Attestation.Evidence.Events = slices.Clone(a.Attestation.Evidence.Events)
				a.Attestation.Evidence.Events[1] = vm.RuntimeEvent(vm.EventCompose, h[:])
			},
		},
		{
			name: "forged payload under the true digest", failing: []string{"boot"}, code: vm.CodeEvents, text: "does not follow",
			lie: func(_ *testing.T, _ *machinetest.Machine, a *verification.Answer, w *verification.Wanted) {
				w.Compose = []byte("services: {}\n")
				h := vm.HashOf(w.Compose)
				a.Attestation.Evidence.Events = slices.Clone(a.Attestation.Evidence.Events)
				a.Attestation.Evidence.Events[1].Payload = h[:]
			},
		},
		{
			name: "no events at all", failing: []string{"system", "workload", "configuration", "boot"}, code: vm.CodeEvents, text: "RTMR3",
			lie: func(_ *testing.T, _ *machinetest.Machine, a *verification.Answer, _ *verification.Wanted) {
				a.Attestation.Evidence.Events = nil
			},
		},
	})
}

func TestB4_ChangedConfig(t *testing.T) {
	run(t, []attack{
		{
			name: "served config is not the measured one", failing: []string{"configuration"}, code: vm.CodeConfig, text: "not the measured one",
			lie: func(t *testing.T, m *machinetest.Machine, a *verification.Answer, w *verification.Wanted) {
				w.Service = "svm1thief/guestbook"
				changed := m.Config
				changed.Service = w.Service
				var err error
				if a.Config, err = changed.Canonical(); err != nil {
					t.Fatal(err)
				}
			},
		},
		{
			name: "another service", failing: []string{"configuration"}, code: vm.CodeConfig, text: "svm1owner/guestbook",
			lie: func(_ *testing.T, _ *machinetest.Machine, _ *verification.Answer, w *verification.Wanted) {
				w.Service = "svm1other/guestbook"
			},
		},
		{
			name: "another key manager", failing: []string{"configuration"}, code: vm.CodeConfig, text: "kms.group_key",
			lie: func(_ *testing.T, _ *machinetest.Machine, _ *verification.Answer, w *verification.Wanted) {
				w.GroupKey = strings.Repeat("99", 96)
			},
		},
		{
			name: "config in another form", failing: []string{"configuration"}, code: vm.CodeConfig, text: "config-hash",
			lie: func(_ *testing.T, _ *machinetest.Machine, a *verification.Answer, _ *verification.Wanted) {
				a.Config = append(slices.Clone(a.Config), '\n')
			},
		},
	})
}

func TestB5_DebugMachine(t *testing.T) {
	run(t, []attack{{
		name: "debug", boot: func(s *machinetest.Spec) { s.Debug = true }, failing: []string{"platform"}, code: vm.CodeDebug, text: "debug",
	}})
}

func TestB7_EventAfterBoot(t *testing.T) {
	run(t, []attack{{
		name: "compose-hash after boot-complete", failing: []string{"boot"}, code: vm.CodeEvents, text: "event 4 wanted  absent",
		boot: func(s *machinetest.Spec) {
			h := vm.HashOf([]byte("imitated"))
			s.Extra = []vm.Event{vm.RuntimeEvent(vm.EventCompose, h[:])}
		},
	}})
}

func TestWrongManifest(t *testing.T) {
	manifest := func(change func(*vm.Manifest)) func(*testing.T, *machinetest.Machine, *verification.Answer, *verification.Wanted) {
		return func(_ *testing.T, m *machinetest.Machine, _ *verification.Answer, w *verification.Wanted) {
			other := m.Manifest
			other.Predictions = slices.Clone(other.Predictions)
			change(&other)
			w.Manifest = &other
		}
	}
	all := func(change func(*vm.Prediction)) func(*vm.Manifest) {
		return func(m *vm.Manifest) {
			for i := range m.Predictions {
				change(&m.Predictions[i])
			}
		}
	}
	run(t, []attack{
		{
			name: "firmware", failing: []string{"firmware", "hardware"}, code: vm.CodeImage, text: "MRTD wanted",
			lie: manifest(all(func(p *vm.Prediction) { p.MRTD[0] ^= 1 })),
		},
		{
			name: "kernel", failing: []string{"kernel", "hardware"}, code: vm.CodeImage, text: "RTMR1 wanted",
			lie: manifest(all(func(p *vm.Prediction) { p.RTMR1[0] ^= 1 })),
		},
		{
			name: "command line", failing: []string{"kernel", "hardware"}, code: vm.CodeImage, text: "RTMR2 wanted",
			lie: manifest(all(func(p *vm.Prediction) { p.RTMR2[0] ^= 1 })),
		},
		{
			name: "shape that is not predicted", failing: []string{"hardware"}, code: vm.CodeImage, text: "4 vCPUs, 8192 MiB",
			lie: manifest(func(m *vm.Manifest) { m.Predictions = m.Predictions[1:] }),
		},
		{
			name: "registers of two predictions", failing: []string{"hardware"}, code: vm.CodeImage, text: "all four registers",
			lie: manifest(func(m *vm.Manifest) {
				m.Predictions[0].MRTD[0] ^= 1
				m.Predictions[1].RTMR0[0] ^= 1
			}),
		},
		{
			name: "root file system", failing: []string{"system"}, code: vm.CodeImage, text: "os-image-hash wanted",
			lie: manifest(func(m *vm.Manifest) { m.Verity.RootHash[0] ^= 1 }),
		},
		{
			name: "no predictions", failing: []string{"firmware", "kernel", "hardware"}, code: vm.CodeImage, text: "the manifest has none",
			lie: manifest(func(m *vm.Manifest) { m.Predictions = nil }),
		},
		{
			name: "predictions of another TEE", failing: []string{"firmware", "kernel", "hardware"}, code: vm.CodeImage, text: "the manifest has none",
			lie: manifest(all(func(p *vm.Prediction) { p.TEE = vm.SNP })),
		},
	})
}

func TestK7_ExpiredCollateral(t *testing.T) {
	run(t, []attack{{
		name: "ten years later", failing: []string{"quote"}, code: vm.CodeExpired, text: "[expired]",
		lie: func(_ *testing.T, _ *machinetest.Machine, _ *verification.Answer, w *verification.Wanted) {
			w.Time = w.Time.AddDate(10, 0, 0)
		},
	}})
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
