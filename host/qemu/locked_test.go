package qemu_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/host/qemu"
	"github.com/secretvm/secretvm/test/locked"
	"github.com/secretvm/secretvm/vm"
)

// complain runs QEMU, which must give up by itself, and returns what it said.
func complain(t *testing.T, binary qemu.Binary, dir string, args []string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	argv := slices.Concat(binary.Argv, args)
	c := exec.CommandContext(ctx, argv[0], argv[1:]...)
	c.Dir, c.Env, c.WaitDelay = dir, append(c.Environ(), binary.Env...), time.Second
	var said bytes.Buffer
	c.Stderr = &said
	err := c.Run()
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || !exit.Exited() {
		t.Fatalf("QEMU ended with %v, want an error of its own; it said %q", err, &said)
	}
	return said.String()
}

// confidential is a machine whose files exist. No guest can run in it: the
// firmware is empty, which QEMU refuses even where the processor has the TEE.
func confidential(t *testing.T, tee vm.TEE) (qemu.Machine, string) {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"firmware", "kernel", "initramfs", "rootfs", "config", "data"} {
		size := 4096
		if name == "firmware" {
			size = 0
		}
		if err := os.WriteFile(filepath.Join(dir, name), make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	return qemu.Machine{
		Name: "x", TEE: tee, Shape: vm.DefaultShape, Encryption: qemu.Encryption{CBit: 51, ReducedBits: 1},
		Firmware: at("firmware"), Kernel: at("kernel"), Initramfs: at("initramfs"), CommandLine: "console=ttyS0",
		Rootfs: at("rootfs"), Config: at("config"), Data: at("data"),
	}, dir
}

// replace gives the option of that name another value, and the machine nothing
// else: -S keeps processors stopped, whatever comes.
func replace(t *testing.T, args []string, option, old, value string) []string {
	t.Helper()
	args = append(slices.Clone(args), "-S")
	for i, arg := range args[:len(args)-1] {
		if arg == option && strings.Contains(args[i+1], old) {
			args[i+1] = strings.Replace(args[i+1], old, value, 1)
			return args
		}
	}
	t.Fatalf("no %s with %q in %q", option, old, args)
	return nil
}

var confidentialTEEs = map[vm.TEE]struct{ object, kind string }{
	vm.TDX: {"tdx-guest", "TDX"},
	vm.SNP: {"sev-snp-guest", "SEV-SNP"},
}

// The locked QEMU takes the command line, all objects and the board, up to where
// it needs KVM for private memory. Under emulation it gets that far anywhere.
func TestLockedQEMUAcceptsConfidentialMachines(t *testing.T) {
	binary := locked.QEMU(t)
	for tee, name := range confidentialTEEs {
		m, dir := confidential(t, tee)
		args, err := m.Arguments()
		if err != nil {
			t.Fatal(err)
		}
		emulated := replace(t, args, "-accel", "kvm", "tcg")
		if said := complain(t, binary, dir, emulated); !strings.Contains(said, "cannot set up private guest memory for "+name.object+": KVM required") {
			t.Errorf("%s: QEMU says %q, want that it requires KVM", tee, said)
		}
		// What the test would say of a mistake.
		for _, row := range []struct{ option, old, value, want string }{
			{"-object", `"id"`, `"nope":1,"id"`, "nope"},
			{"-machine", "confidential-guest-support=", "confidential-guest-support=no", "no"},
		} {
			if said := complain(t, binary, dir, replace(t, emulated, row.option, row.old, row.value)); !strings.Contains(said, row.want) || strings.Contains(said, "KVM required") {
				t.Errorf("%s with %s: QEMU says %q, want a complaint about %s", tee, row.value, said, row.want)
			}
		}
	}
}

// The same command line as it is, with KVM: refused because there is no KVM,
// because its processor lacks the TEE, or, where it has it, because the firmware
// is empty. Nothing runs in any case.
func TestLockedQEMUAsksKVMForTheTEE(t *testing.T) {
	binary := locked.QEMU(t)
	for tee, name := range confidentialTEEs {
		m, dir := confidential(t, tee)
		args, err := m.Arguments()
		if err != nil {
			t.Fatal(err)
		}
		said := complain(t, binary, dir, append(args, "-S"))
		for meaning, text := range map[string]string{
			"no /dev/kvm, or not allowed":  "Could not access KVM kernel module",
			"KVM lacks the TEE":            "vm-type " + name.kind + " not supported by KVM",
			"KVM has the TEE":              "could not load PC BIOS",
			"another position of the bit":  "cbitpos",
			"KVM does not start otherwise": "failed to initialize kvm",
		} {
			if strings.Contains(said, text) {
				t.Logf("%s: %s", tee, meaning)
				said = ""
				break
			}
		}
		if said != "" {
			t.Errorf("%s: QEMU says %q, want a word about KVM, the TEE or the firmware", tee, said)
		}
	}
}

// Board and devices without what makes the machine confidential: QEMU builds all
// of it and stands still before the first instruction.
func TestLockedQEMUBuildsTheBoard(t *testing.T) {
	binary := locked.QEMU(t)
	for _, c := range []struct {
		tee  vm.TEE
		gpus int
	}{{vm.TDX, 0}, {vm.SNP, 0}, {vm.TDX, 8}, {vm.SNP, 2}} {
		tee := c.tee
		m, dir := confidential(t, tee)
		m.Shape.GPUs = c.gpus
		for i := range c.gpus {
			m.GPUs = append(m.GPUs, fmt.Sprintf("0000:%02x:00.0", i))
		}
		m.Forwards = []qemu.Forward{{Host: 0, Guest: 80}}
		if err := os.WriteFile(m.Firmware, make([]byte, 64<<10), 0o600); err != nil {
			t.Fatal(err)
		}
		args, err := m.Arguments()
		if err != nil {
			t.Fatal(err)
		}
		for _, option := range []string{"-kernel", "-initrd", "-append"} { // files of zeros are no kernel
			i := slices.Index(args, option)
			args = slices.Delete(args, i, i+2)
		}
		i := slices.Index(args, "-machine") + 1
		args[i] = strings.NewReplacer(",confidential-guest-support=tdx0,kernel-irqchip=split", "", ",confidential-guest-support=snp0", "").Replace(args[i])
		args[slices.Index(args, "-cpu")+1] = "qemu64,phys-bits=46"
		for i, arg := range args { // no GPU and no IOMMU is here: the ports are QEMU's own
			if rest, is := strings.CutPrefix(arg, "vfio-pci,"); is {
				_, port, _ := strings.Cut(rest, ",bus=")
				port, _, _ = strings.Cut(port, ",")
				args[i] = "pci-testdev,bus=" + port
			}
		}
		if i := slices.IndexFunc(args, func(arg string) bool { return strings.Contains(arg, `"iommufd"`) }); i >= 0 {
			args = slices.Delete(args, i-1, i+1)
		}
		guard := slices.Index(args, "-object") // the other test has it read
		args = slices.Delete(args, guard, guard+2)
		if devices := built(t, binary, dir, replace(t, args, "-accel", "kvm", "tcg")); devices != strings.Count(strings.Join(args, "\n"), "-device") {
			t.Errorf("%s, %d GPUs: QEMU built %d devices of %q", tee, c.gpus, devices, args)
		}
	}
}

// QEMU knows every option of the GPUs' devices and looks for them on the host.
func TestLockedQEMUAsksForTheGPUs(t *testing.T) {
	binary := locked.QEMU(t)
	m, dir := confidential(t, vm.TDX)
	m.Shape.GPUs, m.GPUs = 1, []string{"ffff:00:00.0"}
	args, err := m.Arguments()
	if err != nil {
		t.Fatal(err)
	}
	for _, option := range []string{"-kernel", "-initrd", "-append"} {
		i := slices.Index(args, option)
		args = slices.Delete(args, i, i+2)
	}
	if err := os.WriteFile(m.Firmware, make([]byte, 64<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	guard := slices.Index(args, "-object")
	args = slices.Delete(args, guard, guard+2)
	args[slices.Index(args, "-machine")+1] = "q35"
	args[slices.Index(args, "-cpu")+1] = "qemu64,phys-bits=46"
	emulated := replace(t, args, "-accel", "kvm", "tcg")
	if said := complain(t, binary, dir, emulated); !strings.Contains(said, "/dev/iommu") && !strings.Contains(said, "ffff:00:00.0") {
		t.Errorf("QEMU says %q, want that there is no IOMMU or no such device", said)
	}
	// Without the host's IOMMU it goes on to the device.
	back := slices.IndexFunc(emulated, func(arg string) bool { return strings.Contains(arg, `"iommufd"`) }) - 1
	emulated = slices.Delete(emulated, back, back+2)
	emulated = replace(t, emulated, "-device", ",iommufd=iommufd0", "")
	if said := complain(t, binary, dir, emulated); !strings.Contains(said, "ffff:00:00.0") {
		t.Errorf("QEMU says %q, want that there is no such device", said)
	}
	// What the test would say of a mistake.
	if said := complain(t, binary, dir, replace(t, emulated, "-device", "vfio-pci,", "vfio-pci,nope=1,")); !strings.Contains(said, "nope") {
		t.Errorf("QEMU says %q, want a complaint about nope", said)
	}
}

// built starts a stopped machine, counts its devices, and ends it.
func built(t *testing.T, binary qemu.Binary, dir string, args []string) (devices int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	argv := slices.Concat(binary.Argv, args)
	c := exec.CommandContext(ctx, argv[0], argv[1:]...)
	c.Dir, c.Env, c.WaitDelay = dir, append(c.Environ(), binary.Env...), time.Second
	var said bytes.Buffer
	c.Stderr = &said
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	var qmp *qemu.QMP
	for {
		var err error
		if qmp, err = qemu.DialQMP(ctx, dir); err == nil {
			break
		}
		select {
		case err := <-ended:
			t.Fatalf("QEMU ended with %v: %s", err, &said)
		case <-time.After(10 * time.Millisecond):
		}
	}
	defer qmp.Close()
	if status, err := qmp.Status(ctx); err != nil || status != "prelaunch" {
		t.Errorf("the machine is %q, %v, want it stopped before its first instruction", status, err)
	}
	for _, path := range []string{"/machine/peripheral-anon", "/machine/peripheral"} { // without and with a name
		var nodes []struct{ Type string }
		if err := qmp.Execute(ctx, "qom-list", map[string]string{"path": path}, &nodes); err != nil {
			t.Error(err)
		}
		for _, node := range nodes {
			if strings.HasPrefix(node.Type, "child<") {
				devices++
			}
		}
	}
	if err := qmp.Execute(ctx, "quit", nil, nil); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("QEMU ended with %v: %s", err, &said)
	}
	return devices
}
