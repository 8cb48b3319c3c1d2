//go:build e2e

package disk

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/host/qemu"
	"github.com/secretvm/secretvm/image/initramfs"
	"github.com/secretvm/secretvm/test/locked"
	"github.com/secretvm/secretvm/vm"
)

// bench is what all boots share.
type bench struct {
	t         *testing.T
	dir       string
	image     string
	kernel    string
	initramfs string
	options   string // of the kernel's command line
	emulator  qemu.Binary
	disk      string
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, dir: t.TempDir(), emulator: locked.QEMU(t)}
	repository, err := filepath.Abs("../..")
	must(t, err)
	b.image = filepath.Join(b.dir, "image")
	command := exec.Command(filepath.Join(repository, "bin", "secretvm"), "image", "build", "--output", b.image)
	command.Dir = repository
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("secretvm image build: %v: %s", err, out)
	}
	text, err := os.ReadFile(filepath.Join(b.image, vm.ManifestName))
	must(t, err)
	manifest, err := vm.ParseManifest(text)
	must(t, err)
	for _, word := range strings.Fields(manifest.CommandLine) {
		if !strings.HasPrefix(word, "secretvm.") {
			b.options += word + " "
		}
	}
	b.kernel = filepath.Join(b.image, manifest.Kernel.Name)

	// A second archive behind the image's own: its /init wins.
	program := filepath.Join(b.dir, "inside")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", program, "./inside")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build inside: %v: %s", err, out)
	}
	init, err := os.ReadFile(program)
	must(t, err)
	own, err := initramfs.Build(map[string]initramfs.File{"init": {Mode: 0o755, Content: init}}, nil, 0)
	must(t, err)
	theirs, err := os.ReadFile(filepath.Join(b.image, manifest.Initramfs.Name))
	must(t, err)
	for len(theirs)%4 != 0 {
		theirs = append(theirs, 0)
	}
	b.initramfs = filepath.Join(b.dir, "initramfs")
	must(t, os.WriteFile(b.initramfs, append(theirs, own...), 0o600))
	b.disk = filepath.Join(b.dir, "disk.img")
	return b
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// blank makes the disk empty.
func (b *bench) blank(size int64) {
	b.t.Helper()
	must(b.t, errors.Join(os.WriteFile(b.disk, nil, 0o600), os.Truncate(b.disk, size)))
}

// said is a line of the machine.
type said struct {
	Error      string  `json:"error"`
	Opening    bool    `json:"opening"`
	Generation *uint64 `json:"generation"`
	Formatted  bool    `json:"formatted"`
	Renewed    bool    `json:"renewed"`
	Grown      bool    `json:"grown"`
	Records    uint64  `json:"records"`
	Bytes      uint64  `json:"bytes"`
	Advanced   uint64  `json:"advanced"`
	Kept       uint64  `json:"kept"`
	Device     string  `json:"device"`
	Kind       string  `json:"kind"`
	Rate       float64 `json:"rate"`
	Seconds    float64 `json:"seconds"`
}

// patience is how long a boot may take on a busy machine.
const patience = 4 * time.Minute

// boot runs the machine until it powers off, or until hear cuts the power by
// returning true. With a log, writes go there too.
func (b *bench) boot(job string, log string, hear func(said, context.CancelFunc)) {
	b.t.Helper()
	ctx, cut := context.WithTimeout(b.t.Context(), patience)
	defer cut()
	escape := func(s string) string { return strings.ReplaceAll(s, ",", ",,") }
	data := []string{"-blockdev", "driver=file,node-name=data,filename=" + escape(b.disk)}
	if log != "" {
		must(b.t, os.WriteFile(log, nil, 0o600))
		data = []string{
			"-blockdev", "driver=file,node-name=below,filename=" + escape(b.disk),
			"-blockdev", "driver=file,node-name=log,filename=" + escape(log),
			"-blockdev", "driver=blklogwrites,node-name=data,file=below,log=log",
		}
	}
	args := append(b.emulator.Argv[1:len(b.emulator.Argv):len(b.emulator.Argv)],
		"-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "Nehalem,vendor=AuthenticAMD", "-smp", "2", "-m", "768M",
		"-bios", filepath.Join(b.image, "OVMF.fd"), "-kernel", b.kernel, "-initrd", b.initramfs, "-append", b.options+job,
		"-chardev", "stdio,id=console,signal=off", "-device", "isa-serial,chardev=console",
		"-blockdev", "driver=file,read-only=on,node-name=rootfs,filename="+escape(filepath.Join(b.image, "rootfs.img")),
		"-device", "virtio-blk-pci,drive=rootfs,serial=rootfs", "-device", "virtio-blk-pci,drive=data,serial=data")
	command := exec.CommandContext(ctx, b.emulator.Argv[0], append(args, data...)...)
	command.Env = append(os.Environ(), b.emulator.Env...)
	var errOut strings.Builder
	command.Stderr = &errOut
	out, err := command.StdoutPipe()
	must(b.t, err)
	must(b.t, command.Start())
	defer command.Wait() //nolint:errcheck // killed, or powered off
	var console strings.Builder
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		text, ours := strings.CutPrefix(strings.TrimSpace(lines.Text()), "inside: ")
		if !ours {
			fmt.Fprintln(&console, lines.Text())
			continue
		}
		var s said
		if json.Unmarshal([]byte(text), &s) == nil { // the last line may be cut
			hear(s, cut)
		}
	}
	if ctx.Err() == context.DeadlineExceeded || errOut.Len() > 0 {
		b.t.Fatalf("the machine did not end in %s: %s%s", patience, console.String(), errOut.String())
	}
}

// copySparse copies a disk without filling its holes.
func copySparse(t *testing.T, from, to string) {
	t.Helper()
	if out, err := exec.Command("cp", "--sparse=always", from, to).CombinedOutput(); err != nil {
		t.Fatalf("copy disk: %v: %s", err, out)
	}
}
