//go:build firmware

package qtest

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/host/qemu"
	"github.com/secretvm/secretvm/image"
	"github.com/secretvm/secretvm/image/firmware"
	"github.com/secretvm/secretvm/measure/acpi"
	"github.com/secretvm/secretvm/test/locked"
	"github.com/secretvm/secretvm/vm"
)

// server is what large processors have, with TDX or without: more address bits and
// a fifth level of page tables. OVMF could use both and must not, for then devices
// would be elsewhere.
const server = "phys-bits=52,la57=on"

// OVMF itself, our own and Debian's, boots a kernel in the machines of several
// shapes: what it downloaded as ACPI tables is what is predicted, and the kernel
// found each of them. That is as much as an emulated processor shows: nothing
// measures there. GPUs have stand-ins with the memory of several models.
func TestFirmwareDownloadsThePredictedTables(t *testing.T) {
	emulator := locked.QEMU(t)
	images := firmwares(t)
	for _, c := range []struct {
		shape  vm.Shape
		gpu    string // memory of one
		cpu    string // what the processor has in addition; "": 46 address bits
		images []string
	}{
		{vm.DefaultShape, "", "", []string{"own", "debian"}},
		{vm.DefaultShape, "", server, []string{"own", "debian"}},
		{vm.Shape{CPUs: 2, Memory: 4 << 30, GPUs: 8}, "256G", server, []string{"own", "debian"}},
		{vm.Shape{CPUs: 1, Memory: 512 << 20}, "", "", []string{"own", "debian"}},
		{vm.Shape{CPUs: 5, Memory: 2815 << 20}, "", "", []string{"own"}},
		{vm.Shape{CPUs: 3, Memory: 3 << 30}, "", "", []string{"own"}},
		{vm.Shape{CPUs: 2, Memory: 2 << 30, GPUs: 1}, "128G", "", []string{"own", "debian"}},
		{vm.Shape{CPUs: 2, Memory: 4 << 30, GPUs: 8}, "128G", "", []string{"own", "debian"}},
		{vm.Shape{CPUs: 2, Memory: 4 << 30, GPUs: 8}, "256G", "", []string{"own"}},
		{vm.Shape{CPUs: 2, Memory: 4 << 30, GPUs: 3}, "64G", "", []string{"own"}},
		{vm.Shape{CPUs: 2, Memory: 4 << 30, GPUs: 1}, "64K", "", []string{"own"}},
	} {
		want, err := acpi.For(c.shape)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range c.images {
			t.Run(strings.Join(strings.Fields(name+" "+c.shape.String()+" "+c.gpu+" "+c.cpu), " "), func(t *testing.T) {
				got, console := boot(t, emulator, images[name], c.shape, c.gpu, c.cpu)
				for file, pair := range map[string][2][]byte{
					acpi.LoaderFile: {got.Loader, want.Loader}, acpi.RSDPFile: {got.RSDP, want.RSDP}, acpi.TablesFile: {got.Tables, want.Tables},
				} {
					if !bytes.Equal(pair[0], pair[1]) {
						t.Errorf("%s: the firmware got %d bytes that are not predicted", file, len(pair[0]))
					}
				}
				tables := bytes.TrimRight(want.Tables, "\x00")
				for at := 0; at+8 <= len(tables); {
					name, size := string(tables[at:at+4]), int(binary.LittleEndian.Uint32(tables[at+4:]))
					at += size
					found := regexp.MustCompile(fmt.Sprintf(`ACPI: %s 0x[0-9A-F]+ %06X\s`, name, size))
					if name == "RSDT" { // OVMF makes one of its own, with longer pointers
						found = regexp.MustCompile(`ACPI: XSDT 0x`)
					}
					if !found.MatchString(console) {
						t.Errorf("the kernel found no %s of %d bytes: %q", name, size, regexp.MustCompile(`ACPI: [A-Z]{4} 0x.*`).FindAllString(console, -1))
					}
				}
			})
		}
	}
}

// boot starts the machine, waits until the kernel has read the tables, and reads
// what QEMU handed to the firmware: QEMU makes the files when they are first
// selected and never anew.
func boot(t *testing.T, binary qemu.Binary, image string, shape vm.Shape, gpu, cpu string) (b acpi.Blobs, console string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "boot") // not the test's: its name has commas, which separate options, and is long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if cpu == "" {
		cpu = "phys-bits=46"
	}
	args, err := Arguments(shape)
	if err != nil {
		t.Fatal(err)
	}
	for i, arg := range args {
		args[i] = strings.Replace(arg, "membar=128G", "membar="+gpu, 1)
		if arg == "null,id=console" {
			args[i] = "file,id=console,path=" + filepath.Join(dir, "console")
		}
	}
	initrd := filepath.Join(dir, "initrd")
	if err := os.WriteFile(initrd, bytes.Repeat([]byte("initrd"), 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	args = append(args,
		// Without pages of 1 GiB OVMF uses 40 address bits; with AMD's name QEMU would move memory out of the way of 4 TiB.
		"-cpu", "Nehalem,pdpe1gb=on,"+cpu, "-bios", image, "-kernel", kernel(t), "-initrd", initrd,
		"-append", "console=ttyS0 earlyprintk=ttyS0 panic=-1", "-qmp", "unix:"+filepath.Join(dir, qemu.QMPSocket)+",server=on,wait=off",
	)
	s, err := start(ctx, binary, []string{"-accel", "tcg,thread=multi", "-qtest", "stdio", "-qtest-log", "none"}, args)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for !strings.Contains(console, "Kernel command line:") { // printed behind all of ACPI's
		text, err := os.ReadFile(filepath.Join(dir, "console"))
		if err == nil {
			console = string(text)
		}
		select {
		case <-ctx.Done():
			t.Fatalf("the kernel has not come as far as its command line; the console: %.300q", console)
		case <-time.After(50 * time.Millisecond):
		}
	}
	qmp, err := qemu.DialQMP(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer qmp.Close()
	if err := qmp.Execute(ctx, "stop", nil, nil); err != nil { // the guest's memory is written to
		t.Fatal(err)
	}
	if b, err = s.acpi(); err != nil {
		t.Fatal(err)
	}
	return b, console
}

// firmwares are the files of our own firmware and of Debian's.
func firmwares(t *testing.T) map[string]string {
	t.Helper()
	cache, err := image.CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	p, err := firmware.For(vm.TDX)
	if err != nil {
		t.Fatal(err)
	}
	content, ok := firmware.Cached(cache, p)
	if !ok {
		t.Skipf("%s is not in the cache: build it with `secretvm image firmware build`", p.File)
	}
	own := filepath.Join(t.TempDir(), p.File)
	if err := os.WriteFile(own, content, 0o600); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(cache, "images", "*", image.FirmwareName))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if content, err := os.ReadFile(file); err == nil && strings.HasPrefix(vm.HashOf(content).String(), "14954040") { // ovmf 2025.02-8+deb13u1
			return map[string]string{"own": own, "debian": file}
		}
	}
	t.Skip("no image with Debian's firmware is in the cache: build one with `secretvm image build`")
	return nil
}

// kernel is one from an image in the cache.
func kernel(t *testing.T) string {
	t.Helper()
	cache, err := image.CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(cache, "images", "*", image.KernelName))
	if err != nil || len(files) == 0 {
		t.Skip("no image is in the cache, whose kernel could be booted: build one with `secretvm image build`")
	}
	return files[0]
}
