package verification_test

import (
	"strings"
	"testing"

	"github.com/secretvm/secretvm/verification"
	"github.com/secretvm/secretvm/verification/machinetest"
	"github.com/secretvm/secretvm/vm"
)

func dev(s *machinetest.Spec) { s.Config.Dev = true }

// forDevelopment makes the manifest of an image for development of another.
func forDevelopment(m vm.Manifest) *vm.Manifest {
	m.Dev, m.CommandLine = true, m.CommandLine+" "+vm.DevArgument
	return &m
}

// TestB5_DevImageIsRefused: machines whose operator may run commands in them say
// so in what they measured, and nobody takes them for others by mistake.
func TestB5_DevImageIsRefused(t *testing.T) {
	run(t, []attack{
		{name: "by its config", boot: dev, failing: []string{"configuration"}, code: vm.CodeDevImage, text: "--accept-dev"},
		{
			name: "by config and manifest", boot: dev, failing: []string{"system", "configuration"}, code: vm.CodeDevImage, text: "an image for development",
			lie: func(_ *testing.T, m *machinetest.Machine, _ *verification.Answer, w *verification.Wanted) {
				w.Manifest = forDevelopment(m.Manifest)
			},
		},
		{
			name: "under a served config that denies it", boot: dev, failing: []string{"configuration"}, code: vm.CodeConfig, text: "not the measured one",
			lie: func(t *testing.T, m *machinetest.Machine, a *verification.Answer, w *verification.Wanted) {
				c := m.Config
				c.Dev = false
				b, err := c.Canonical()
				if err != nil {
					t.Fatal(err)
				}
				a.Config, w.Wishes.Dev = b, true
			},
		},
		{
			name: "without a config", boot: dev, failing: []string{"system"}, code: vm.CodeDevImage, text: "an image for development",
			lie: func(_ *testing.T, m *machinetest.Machine, a *verification.Answer, w *verification.Wanted) {
				a.Config, a.URL, a.TLSKey = nil, "", vm.Hash{}
				w.Manifest, w.Service, w.GroupKey = forDevelopment(m.Manifest), "", ""
			},
		},
		{
			name: "shown for a production image", boot: func(s *machinetest.Spec) { dev(s); s.Root = vm.HashOf([]byte("with a shell")) },
			failing: []string{"kernel", "hardware", "system"}, code: vm.CodeImage, text: "root file system is not that of",
			lie: func(_ *testing.T, _ *machinetest.Machine, _ *verification.Answer, w *verification.Wanted) {
				w.Manifest = forProduction()
				w.Wishes.Dev = true // even so
			},
		},
	})
}

func forProduction() *vm.Manifest {
	m := machinetest.Manifest(vm.HashOf([]byte("root file system")))
	return &m
}

// TestDevImageIsAcceptedByName: whoever asks for it gets a verdict, and a warning.
func TestDevImageIsAcceptedByName(t *testing.T) {
	m := machinetest.Boot(t, dev)
	want := everything(m)
	want.Manifest, want.Wishes.Dev = forDevelopment(m.Manifest), true
	r := verification.Appraise(answer(t, m, ourKey, ourNonce), want)
	if r.Verdict != verification.Verified || !strings.Contains(strings.Join(r.Warnings, " "), "IMAGE FOR DEVELOPMENT") {
		t.Errorf("%s, %q", r.Verdict, r.Warnings)
	}
}
