package verification_test

import (
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/verification"
	"github.com/secretvm/secretvm/verification/machinetest"
	"github.com/secretvm/secretvm/vm"
)

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
			name: "launched for another config", failing: []string{"configuration"}, code: vm.CodeConfig, text: "MR_CONFIG_ID found",
			boot: func(s *machinetest.Spec) { s.ConfigID = &vm.Register{1} },
		},
		{
			name: "measured another compose file than the config names", failing: []string{"workload", "configuration"}, code: vm.CodeCompose,
			text: "names another compose file",
			boot: func(s *machinetest.Spec) {
				other := vm.HashOf([]byte("other"))
				s.Measured = func(e []vm.Event) []vm.Event {
					return []vm.Event{e[0], vm.RuntimeEvent(vm.EventCompose, other[:]), e[2], e[3]}
				}
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

// TestB3_BootIsComplete: the events are those of one whole boot, in order.
func TestB3_BootIsComplete(t *testing.T) {
	other := vm.HashOf([]byte("other"))
	measured := func(f func([]vm.Event) []vm.Event) func(*machinetest.Spec) {
		return func(s *machinetest.Spec) { s.Measured = f }
	}
	run(t, []attack{
		{
			name: "boot-complete is missing", failing: []string{"boot"}, code: vm.CodeEvents, text: "event 3 found   absent",
			boot: measured(func(e []vm.Event) []vm.Event { return e[:3] }),
		},
		{
			name: "another order", failing: []string{"boot"}, code: vm.CodeEvents, text: `event 0 found   "compose-hash"`,
			boot: measured(func(e []vm.Event) []vm.Event { return []vm.Event{e[1], e[0], e[2], e[3]} }),
		},
		{
			name: "an event twice", failing: []string{"boot"}, code: vm.CodeEvents, text: "event 1 repeats event 0",
			boot: measured(func(e []vm.Event) []vm.Event { return append([]vm.Event{e[0]}, e...) }),
		},
		{
			name: "files that the config does not name", failing: []string{"workload", "boot"}, code: vm.CodeCompose, text: "docker-files-hash",
			boot: measured(func(e []vm.Event) []vm.Event {
				return []vm.Event{e[0], e[1], vm.RuntimeEvent(vm.EventFiles, other[:]), e[2], e[3]}
			}),
			lie: func(_ *testing.T, _ *machinetest.Machine, _ *verification.Answer, w *verification.Wanted) {
				w.Files = []byte("ours")
			},
		},
		{
			name: "no root hash", failing: []string{"system", "boot"}, code: vm.CodeEvents, text: "did not measure os-image-hash",
			boot: measured(func(e []vm.Event) []vm.Event { return e[1:] }),
		},
		{
			name: "a root hash that is no digest", failing: []string{"system", "boot"}, code: vm.CodeEvents, text: "payload found   5 bytes",
			boot: measured(func(e []vm.Event) []vm.Event {
				return append([]vm.Event{vm.RuntimeEvent(vm.EventImage, []byte("short"))}, e[1:]...)
			}),
		},
	})
}

func TestB7_EventAfterBoot(t *testing.T) {
	imitated := vm.HashOf([]byte("imitated"))
	run(t, []attack{{
		name: "compose-hash after boot-complete", failing: []string{"boot"}, code: vm.CodeEvents, text: "event 4 repeats event 1",
		boot: func(s *machinetest.Spec) {
			s.Measured = func(e []vm.Event) []vm.Event { return append(e, vm.RuntimeEvent(vm.EventCompose, imitated[:])) }
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
