//go:build firmware

package firmware_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/host/qemu"
	"github.com/secretvm/secretvm/image"
	"github.com/secretvm/secretvm/image/firmware"
	"github.com/secretvm/secretvm/image/tools"
	"github.com/secretvm/secretvm/measure/snp"
	"github.com/secretvm/secretvm/vm"
)

// commandLine lets the kernel speak as early as it can.
const commandLine = "console=ttyS0 earlyprintk=ttyS0 panic=-1 reboot=t"

// banner is what a kernel prints first.
var banner = []byte("Linux version ")

// patience is how much longer than a boot that works one that must not work is
// watched, and patienceAtLeast the least.
const (
	patience        = 2
	patienceAtLeast = 10 * time.Second
)

// The firmware for SEV-SNP runs without SEV as well, with the table of hashes
// planted where QEMU puts it: its verifier is the one that ships.
func TestB6_FirmwareRefusesWhatIsNotInTheTable(t *testing.T) {
	b := newBench(t, vm.SNP)
	started := time.Now()
	if !b.boots(t, b.kernel, b.initrd, commandLine, b.table(snp.HashFiles(read(t, b.kernel), read(t, b.initrd), commandLine)), 5*time.Minute) {
		t.Fatal("the kernel, initrd and command line of the table do not boot")
	}
	watch := max(patience*time.Since(started), patienceAtLeast)
	for _, c := range b.attacks(t) {
		t.Run(c.name, func(t *testing.T) {
			if b.boots(t, c.kernel, c.initrd, c.command, c.table, watch) {
				t.Error("it boots")
			}
		})
	}
}

// Debian's firmware, which has no verifier, boots all of that: the test above can
// fail. What it does with a shim says nothing, for ours is none. So SNP machines
// are not started with it.
func TestB6_FirmwareWithoutVerifierBootsEverything(t *testing.T) {
	b := newBenchOf(t, "OVMF.fd", debianFirmware(t))
	for _, c := range b.attacks(t) {
		if c.name == "a shim" {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			if !b.boots(t, c.kernel, c.initrd, c.command, c.table, 5*time.Minute) {
				t.Error("it does not boot")
			}
		})
	}
	err := qemu.CheckFirmware(vm.SNP, read(t, b.firmware), qemu.Verifying)
	if err == nil || vm.CodeOf(err) != vm.CodeImage {
		t.Errorf("an SNP machine would be started with it: %v", err)
	}
}

// attack is a boot that the table of hashes does not cover.
type attack struct {
	name                    string
	kernel, initrd, command string
	table                   []string
}

func (b bench) attacks(t *testing.T) []attack {
	right := snp.HashFiles(read(t, b.kernel), read(t, b.initrd), commandLine)
	return []attack{
		{"another kernel", b.alteredKernel(t), b.initrd, commandLine, b.table(right)},
		{"another initrd", b.kernel, b.altered(t, b.initrd), commandLine, b.table(right)},
		{"no initrd", b.kernel, "", commandLine, b.table(right)},
		{"another command line", b.kernel, b.initrd, commandLine + " init=/bin/sh", b.table(right)},
		{"an additional blob", b.kernel, b.initrd, commandLine, append(b.table(right), b.blob("etc/boot/other")...)},
		{"a shim", b.kernel, b.initrd, commandLine, append(b.table(right), b.blob("etc/boot/shim")...)},
		{"no hash of the kernel", b.kernel, b.initrd, commandLine, b.tableWithoutKernel(right)},
		{"no table", b.kernel, b.initrd, commandLine, nil},
	}
}

// The firmware for TDX leaves verifying to the measurement, and takes no blob
// that nobody measures either.
func TestFirmwareForTDXTakesNoAdditionalBlob(t *testing.T) {
	b := newBench(t, vm.TDX)
	started := time.Now()
	if !b.boots(t, b.kernel, b.initrd, commandLine, nil, 5*time.Minute) {
		t.Fatal("it does not boot")
	}
	watch := max(patience*time.Since(started), patienceAtLeast)
	for _, name := range []string{"etc/boot/other", "etc/boot/shim"} {
		if b.boots(t, b.kernel, b.initrd, commandLine, b.blob(name), watch) {
			t.Errorf("it boots with the blob %s", name)
		}
	}
}

// bench is what a firmware is tried with: the locked QEMU and a kernel.
type bench struct {
	dir                      string
	tools                    *tools.Set
	firmware, kernel, initrd string
}

func newBench(t *testing.T, tee vm.TEE) bench {
	t.Helper()
	platform, err := firmware.For(tee)
	if err != nil {
		t.Fatal(err)
	}
	cache, err := image.CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	content, ok := firmware.Cached(cache, platform)
	if !ok {
		t.Skipf("%s is not in the cache: build it with `secretvm image firmware build --tee %s`", platform.File, tee)
	}
	return newBenchOf(t, platform.File, content)
}

func newBenchOf(t *testing.T, name string, content []byte) bench {
	t.Helper()
	cache, err := image.CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	b := bench{dir: t.TempDir()}
	b.firmware = b.write(t, name, content)
	kernels, err := filepath.Glob(filepath.Join(cache, "images", "*", image.KernelName))
	if err != nil || len(kernels) == 0 {
		t.Skip("no image is in the cache, whose kernel could be booted: build one with `secretvm image build`")
	}
	b.kernel = kernels[0]
	b.initrd = b.write(t, "initrd", bytes.Repeat([]byte("initrd"), 1000)) // the kernel speaks before it looks at it
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

// boots reports whether the kernel says anything within watch.
func (b bench) boots(t *testing.T, kernel, initrd, commandLine string, more []string, watch time.Duration) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), watch)
	defer cancel()
	args := []string{
		"-accel", "tcg,thread=multi", "-cpu", "Nehalem,vendor=AuthenticAMD", "-machine", "q35", "-m", "512M",
		"-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-serial", "stdio",
		"-bios", b.firmware, "-kernel", kernel, "-append", commandLine,
	}
	if initrd != "" {
		args = append(args, "-initrd", initrd)
	}
	c := b.tools.Command(ctx, "qemu-system-x86_64", append(args, more...)...)
	var messages bytes.Buffer
	c.Stderr = &messages
	output, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	var seen []byte
	buf := make([]byte, 4096)
	spoke := false
	for !spoke {
		n, err := output.Read(buf)
		seen = append(seen, buf[:n]...)
		spoke = bytes.Contains(seen, banner)
		if err != nil {
			break
		}
	}
	timedOut := ctx.Err() != nil
	cancel()
	_, _ = io.Copy(io.Discard, output)
	_ = c.Wait() // killed
	if !spoke && !timedOut {
		t.Errorf("QEMU ended by itself: %s", messages.Bytes())
	}
	t.Logf("kernel spoke: %v, %d bytes on the console", spoke, len(seen))
	return spoke
}

// table are the arguments that plant a table of hashes.
func (b bench) table(h snp.Hashes) []string { return b.plant(h.Table()) }

// tableWithoutKernel has a table that lacks its last entry, the kernel's.
func (b bench) tableWithoutKernel(h snp.Hashes) []string {
	const entry, length = 50, 168
	table := h.Table()
	table[16] = length - entry
	clear(table[length-entry:])
	return b.plant(table)
}

func (b bench) plant(table []byte) []string {
	file := filepath.Join(b.dir, fmt.Sprintf("table-%s", vm.HashOf(table)))
	if err := os.WriteFile(file, table, 0o644); err != nil {
		panic(err) // the test's own folder
	}
	return []string{"-device", "loader,file=" + file + ",addr=0x810c00,force-raw=on"}
}

// blob are the arguments that put one more file into fw_cfg.
func (b bench) blob(name string) []string {
	return []string{"-fw_cfg", "name=" + name + ",string=more"}
}

// altered is a copy with another byte, in the middle.
func (b bench) altered(t *testing.T, file string) string {
	t.Helper()
	content := read(t, file)
	content[len(content)/2] ^= 1
	return b.write(t, "altered-"+filepath.Base(file), content)
}

// alteredKernel is a kernel that would boot: another version is in the text that
// its setup header points to (Documentation/arch/x86/boot.rst, kernel_version).
func (b bench) alteredKernel(t *testing.T) string {
	t.Helper()
	content := read(t, b.kernel)
	version := int(binary.LittleEndian.Uint16(content[0x20e:])) + 0x200
	if content[version] < '0' || content[version] > '9' {
		t.Fatalf("the kernel has no version at %#x", version)
	}
	content[version] ^= 1
	return b.write(t, "altered-kernel", content)
}

// debianFirmware returns Debian's OVMF from an image in the cache.
func debianFirmware(t *testing.T) []byte {
	t.Helper()
	cache, err := image.CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(cache, "images", "*", image.FirmwareName))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if content := read(t, file); strings.HasPrefix(vm.HashOf(content).String(), "14954040") { // ovmf 2025.02-8+deb13u1
			return content
		}
	}
	t.Skip("no image with Debian's firmware is in the cache: build one with `secretvm image build`")
	return nil
}

func (b bench) write(t *testing.T, name string, content []byte) string {
	t.Helper()
	file := filepath.Join(b.dir, name)
	if err := os.WriteFile(file, content, 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return content
}
