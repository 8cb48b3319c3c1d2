package local

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/attest"
	"github.com/secretvm/secretvm/configdisk"
	"github.com/secretvm/secretvm/host/doctor"
	"github.com/secretvm/secretvm/host/qemu"
	"github.com/secretvm/secretvm/kms/wire"
	"github.com/secretvm/secretvm/vm"
)

func TestConfidentialMachinesAreRefusedWithTheReason(t *testing.T) {
	for name, row := range map[string]struct {
		facts doctor.Facts
		want  []string
	}{
		"laptop": {
			doctor.Facts{CPU: doctor.CPU{Vendor: "GenuineIntel", Name: "Core", Family: 6, Model: 154}},
			[]string{"cannot run here: processor: Core", "try: TDX is in Xeons", "host doctor --tee tdx"},
		},
		"another vendor": {
			doctor.Facts{CPU: doctor.CPU{Vendor: "AuthenticAMD", Name: "EPYC"}},
			[]string{"the processor is EPYC (AuthenticAMD)", "TDX is Intel's"},
		},
	} {
		err := refuse(vm.TDX, doctor.Judge(row.facts))
		for _, want := range append(row.want, "use --tee soft") {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q in it", name, err, want)
			}
		}
	}
	ready := doctor.Report{Ready: map[vm.TEE]bool{vm.TDX: true, vm.SNP: true}}
	if err := refuse(vm.TDX, ready); err != nil {
		t.Errorf("a host that is ready: %v", err)
	}
	if err := refuse(vm.SNP, ready); err == nil || !strings.Contains(err.Error(), "cannot register them yet") || !strings.Contains(err.Error(), "use --tee soft") {
		t.Errorf("a host that is ready for SNP: %v", err)
	}
}

// All of up for a TDX machine, on a computer that says it can: the emulator and
// the KMS are played, and the machine posts a real quote to where it was told that
// the KMS is. No hardware takes part.
func TestUpInTDX(t *testing.T) {
	services, find := intel(t)
	quote := filepath.Join(t.TempDir(), "quote")
	if err := os.WriteFile(quote, realQuote(t), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PLAY_QUOTE", quote)
	state := t.TempDir()
	o := installation(t, state, "").o
	o.TEE, o.Complete = vm.TDX, find
	folder := measurable(t, func(*vm.Manifest) {})
	o.Image = func(context.Context, Note) (string, string, error) { return folder, "", nil }
	o.QEMU = func(context.Context, Note) (qemu.Binary, error) {
		return qemu.Binary{Argv: []string{o.SecretVM, "play-qemu", "tdx"}}, nil
	}
	o.TrustRoot = func(string) (string, error) { t.Error("a development root was asked for"); return "", nil }
	o.Examine = func() doctor.Report {
		return doctor.Judge(doctor.Facts{CPU: doctor.CPU{Vendor: "AuthenticAMD", Name: "EPYC"}})
	}
	if _, err := Up(t.Context(), o, &names{}); err == nil || !strings.Contains(err.Error(), "cannot run here") {
		t.Fatalf("on a computer that cannot: %v", err)
	}
	o.Examine = func() doctor.Report { return doctor.Report{Ready: map[vm.TEE]bool{vm.TDX: true}} }
	in, err := Up(t.Context(), o, &names{})
	defer func() {
		if err := in.Down(t.Context(), &names{}); err != nil {
			t.Error(err)
		}
	}()
	if err != nil {
		t.Fatal(err)
	}

	// The emulator was told to make a TDX machine that is bound to the config.
	text, err := os.ReadFile(filepath.Join(state, "tdx", "machines", "guestbook", "played"))
	if err != nil {
		t.Fatal(err)
	}
	args := strings.Split(string(text), "\n")
	want, err := qemu.Hardware(vm.TDX, in.o.Shape)
	if err != nil {
		t.Fatal(err)
	}
	id, err := in.config.ConfigID()
	if err != nil {
		t.Fatal(err)
	}
	bound, err := (qemu.Machine{
		Name: "x", TEE: vm.TDX, Shape: in.o.Shape, ConfigID: id, Firmware: "/f", Kernel: "/k", Initramfs: "/i", Rootfs: "/r", Config: "/c", Data: "/d",
	}).Arguments()
	if err != nil {
		t.Fatal(err)
	}
	object := bound[slices.Index(bound, "-object")+1]
	if !strings.Contains(string(text), strings.Join(want, "\n")) || !slices.Contains(args, object) {
		t.Errorf("QEMU got %q, want %q and %s in it", args, want, object)
	}

	// The KMS accepts no development root, and what it got proves itself.
	if _, err := os.Stat(filepath.Join(state, "tdx", "kms", "config", "genesis.json")); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(state, "tdx", "kms", "trusted")); err == nil {
		t.Error("the KMS was made with a development root")
	}
	var got wire.Release
	posted, err := os.ReadFile(filepath.Join(state, "tdx", "kms", "posted"))
	if err != nil || json.Unmarshal(posted, &got) != nil {
		t.Fatalf("the KMS got %q, %v", posted, err)
	}
	if v, err := attest.Verify(got.Evidence, attest.Options{Time: july}); err != nil || !v.Anchor.Intel || services.Asked("") == 0 {
		t.Errorf("the release does not prove itself: %v", err)
	}

	r := in.Result()
	if r.TEE != vm.TDX || slices.Contains(r.Verify, "--trust-root") || !slices.Contains(r.Verify, filepath.Join(folder, vm.ManifestName)) {
		t.Errorf("result is %+v", r)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := in.Wait(ctx); err != nil {
		t.Errorf("wait: %v", err)
	}
	config, err := os.Open(filepath.Join(state, "tdx", "machines", "guestbook", "config.img"))
	if err != nil {
		t.Fatal(err)
	}
	defer config.Close()
	archive, err := configdisk.ReadArchive(config)
	if err != nil || len(in.relays) != 1 || !slices.Equal(archive.Hints.KMS, []string{"http://" + guestGateway + ":" + strconv.Itoa(in.relays[0].port)}) {
		t.Errorf("the machine is told of the KMS at %q, %v", archive.Hints.KMS, err)
	}
}
