//go:build kernel

package linux_test

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/image"
	"github.com/secretvm/secretvm/image/initramfs"
	"github.com/secretvm/secretvm/image/linux"
	"github.com/secretvm/secretvm/image/tools"
)

// machine is what testdata/probe says of a kernel.
type machine struct {
	Vulnerabilities, Errors     map[string]string
	Files                       map[string]bool
	Lockdown, LSM, Version, BPF string
	Memory                      string
}

// bench has both kernels, the locked QEMU and a firmware.
type bench struct {
	tools                     *tools.Set
	firmware, initramfs       string
	minimal, generic, command string
}

func newBench(t *testing.T) bench {
	t.Helper()
	cache, err := image.CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	recipe, err := linux.Recipe()
	if err != nil {
		t.Fatal(err)
	}
	kernel, ok := recipe.Cached(cache)
	if file := os.Getenv(linux.Variable); file != "" {
		if kernel, err = recipe.Prebuilt(file); err != nil {
			t.Fatal(err)
		}
	} else if !ok {
		t.Skip("the kernel is not in the cache: build it with `secretvm image kernel build`")
	}
	b := bench{command: "console=ttyS0 quiet loglevel=4 panic=-1 reboot=t random.trust_cpu=1 cryptomgr.notests=1 8250.nr_uarts=1"}
	b.minimal = write(t, linux.File, kernel)
	b.firmware, b.generic = genericImage(t, cache)
	program, err := image.BuildProgram(t.Context(), "../..", "./image/linux/testdata/probe")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]initramfs.File{"init": {Mode: 0o755, Content: program}}
	archive, err := initramfs.Build(files, []string{"dev", "proc", "sys"}, 1)
	if err != nil {
		t.Fatal(err)
	}
	packed, err := initramfs.Compress(archive)
	if err != nil {
		t.Fatal(err)
	}
	if packed, err = linux.Pad(packed); err != nil {
		t.Fatal(err)
	}
	b.initramfs = write(t, initramfs.Name, packed)
	base, err := image.BaseSource()
	if err != nil {
		t.Fatal(err)
	}
	pool, err := image.OpenPool(cache, "/etc/apt", os.Getenv("SECRETVM_MIRRORS"), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if b.tools, err = tools.Open(t.Context(), base.Lock, pool, cache); err != nil {
		t.Skipf("the locked QEMU cannot be had: %v", err)
	}
	return b
}

// genericImage finds an image in the cache with Debian's kernel.
func genericImage(t *testing.T, cache string) (firmware, kernel string) {
	t.Helper()
	kernels, err := filepath.Glob(filepath.Join(cache, "images", "*", image.KernelName))
	if err != nil || len(kernels) == 0 {
		t.Skip("no image with the generic kernel is in the cache: build one with `secretvm image build`")
	}
	return filepath.Join(filepath.Dir(kernels[0]), image.FirmwareName), kernels[0]
}

func write(t *testing.T, name string, content []byte) string {
	t.Helper()
	name = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(name, content, 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

// boot starts a kernel on an emulated processor, until the probe has spoken.
func (b bench) boot(t *testing.T, kernel, processor string) (m machine) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	c := b.tools.Command(ctx, "qemu-system-x86_64",
		"-accel", "tcg,thread=multi", "-cpu", processor, "-machine", "q35", "-m", "1G", "-smp", "2",
		"-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-serial", "stdio",
		"-bios", b.firmware, "-kernel", kernel, "-initrd", b.initramfs, "-append", b.command,
	)
	var messages bytes.Buffer
	c.Stderr = &messages
	started := time.Now()
	console, err := c.Output()
	_, text, ok := bytes.Cut(console, []byte("probe: "))
	if err != nil || !ok {
		t.Fatalf("%v, no word of the probe; console:\n%s\n%s", err, console, messages.Bytes())
	}
	text, _, _ = bytes.Cut(text, []byte("\n"))
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	t.Logf("%s, %s: %s after %.1f s", filepath.Base(kernel), processor, m.Version, time.Since(started).Seconds())
	t.Log(strings.Join(strings.Fields(m.Memory)[:9], " "))
	return m
}

// ofSoftMachines is the processor that host/qemu emulates.
const ofSoftMachines = "Nehalem,vendor=AuthenticAMD,+aes,+pclmulqdq,+sha-ni"

// nested is a vulnerability of hosts: a kernel without KVM has nothing to mitigate
// it with, and nothing that could be attacked by it.
const nested, nestedWithoutKVM = "itlb_multihit", "Processor vulnerable"

// Whatever Debian's kernel does against what a processor leaks, ours does; and
// where the processor lets it, nothing is left open.
func TestMitigationsAreThoseOfDebian(t *testing.T) {
	b := newBench(t)
	mitigated := 0
	for processor, whole := range map[string]bool{ // has all that mitigations need of it
		"Haswell": false, "Skylake-Client": false, "Cascadelake-Server": false, "EPYC-Milan": false, "EPYC": true, ofSoftMachines: false,
	} {
		ours, debian := b.boot(t, b.minimal, processor).Vulnerabilities, b.boot(t, b.generic, processor).Vulnerabilities
		if len(ours) < 15 {
			t.Errorf("%s: the kernel lists %d vulnerabilities", processor, len(ours))
		}
		for _, name := range slices.Sorted(maps.Keys(debian)) {
			t.Logf("%s: %-26s %s", processor, name, ours[name])
			if name == nested && ours[name] == nestedWithoutKVM && strings.HasPrefix(debian[name], "KVM: ") {
				continue
			}
			if ours[name] != debian[name] {
				t.Errorf("%s: %s is %q, Debian's kernel says %q", processor, name, ours[name], debian[name])
			}
			if strings.HasPrefix(ours[name], "Mitigation") {
				mitigated++
			} else if whole && ours[name] != "Not affected" {
				t.Errorf("%s: %s is %q, want it mitigated", processor, name, ours[name])
			}
		}
	}
	if mitigated < 20 {
		t.Errorf("%d times the word is mitigated: these processors show nothing", mitigated)
	}
}

// What decision 15 leaves out is not there, not even for root, and Debian's kernel
// has it: the probe would see it.
func TestKernelIsClosed(t *testing.T) {
	b := newBench(t)
	ours, debian := b.boot(t, b.minimal, ofSoftMachines), b.boot(t, b.generic, ofSoftMachines)
	for name, want := range map[string]string{
		"finit_module": "ENOSYS", "kexec_load": "ENOSYS", "io_uring_setup": "ENOSYS", "userfaultfd": "ENOSYS", "swapon": "ENOSYS",
		"modify_ldt": "ENOSYS", "process_vm_readv": "ENOSYS", "socket vsock": "EAFNOSUPPORT", "socket alg": "EAFNOSUPPORT",
		"membarrier": "",
	} {
		if got := ours.Errors[name]; got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
		if name != "membarrier" && !strings.HasPrefix(name, "socket ") && debian.Errors[name] == want {
			t.Errorf("%s: Debian's kernel says %q as well: the probe shows nothing", name, want)
		}
	}
	for name, there := range ours.Files {
		if want := name == "/sys/kernel/config" || name == "/proc/self/ns/net"; there != want {
			t.Errorf("%s: there is %v, want %v", name, there, want)
		}
		if name == "/proc/self/ns/user" && !debian.Files[name] {
			t.Errorf("%s: Debian's kernel lacks it as well: the probe shows nothing", name)
		}
	}
	if !strings.Contains(ours.Lockdown, "[confidentiality]") || ours.BPF != "2" || !strings.Contains(ours.LSM, "landlock") {
		t.Errorf("lockdown %q, LSMs %q, unprivileged BPF %q", ours.Lockdown, ours.LSM, ours.BPF)
	}
}
