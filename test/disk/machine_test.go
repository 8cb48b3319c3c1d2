//go:build e2e

package disk

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/secretvm/secretvm/host/local"
	"github.com/secretvm/secretvm/host/qemu"
	"github.com/secretvm/secretvm/image/initramfs"
	"github.com/secretvm/secretvm/vm"
)

// bench is what all machines share: the image as it is built now, with a first
// process of its own.
type bench struct {
	folder, kernel, initramfs, options string
	emulator                           qemu.Binary
}

func TestMain(m *testing.M) {
	code := m.Run()
	if shared.machine != nil {
		shared.machine.end()
	}
	if shared.b.folder != "" {
		os.RemoveAll(shared.b.folder)
	}
	os.Exit(code)
}

var shared struct {
	once    sync.Once
	b       bench
	err     error
	machine *machine
}

func newBench(t *testing.T) bench {
	t.Helper()
	shared.once.Do(func() {
		shared.b.emulator, shared.err = local.Locked{}.QEMU(t.Context(), t.Logf)
		if shared.err == nil {
			shared.err = shared.b.build()
		}
	})
	must(t, shared.err)
	return shared.b
}

func (b *bench) build() (err error) {
	if b.folder, err = os.MkdirTemp("", "secretvm-disk-"); err != nil {
		return err
	}
	program := func(name, from string) (string, error) {
		path := filepath.Join(b.folder, name)
		build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", path, from)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return "", fmt.Errorf("build %s: %w: %s", from, err, out)
		}
		return path, nil
	}
	builder, err := program("secretvm", "../../cmd/secretvm")
	if err != nil {
		return err
	}
	image := filepath.Join(b.folder, "image")
	command := exec.Command(builder, "image", "build", "--output", image)
	command.Dir = filepath.Join("..", "..")
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("build the image: %w: %s", err, out)
	}
	text, err := os.ReadFile(filepath.Join(image, vm.ManifestName))
	if err != nil {
		return err
	}
	manifest, err := vm.ParseManifest(text)
	if err != nil {
		return err
	}
	for _, word := range strings.Fields(manifest.CommandLine) {
		if !strings.HasPrefix(word, "secretvm.") {
			b.options += word + " "
		}
	}
	b.kernel = filepath.Join(image, manifest.Kernel.Name)

	// A second archive behind the image's own: its /init wins.
	inside, err := program("inside", "./inside")
	if err != nil {
		return err
	}
	init, err := os.ReadFile(inside)
	if err != nil {
		return err
	}
	own, err := initramfs.Build(map[string]initramfs.File{"init": {Mode: 0o755, Content: init}}, nil, 0)
	if err != nil {
		return err
	}
	theirs, err := os.ReadFile(filepath.Join(image, manifest.Initramfs.Name))
	if err != nil {
		return err
	}
	for len(theirs)%4 != 0 {
		theirs = append(theirs, 0)
	}
	b.initramfs = filepath.Join(b.folder, "initramfs")
	return os.WriteFile(b.initramfs, append(theirs, own...), 0o600)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// order is what a machine is to do next: see package inside.
type order struct {
	Job        string `json:"job"`
	Integrity  bool   `json:"integrity"`
	Generation uint64 `json:"generation"`
	Epoch      uint64 `json:"epoch"`
	Records    uint64 `json:"records"`
	Content    uint64 `json:"content"`
}

// said is a line of the machine.
type said struct {
	Done       bool     `json:"done"`
	Error      string   `json:"error"`
	Generation *uint64  `json:"generation"`
	Formatted  bool     `json:"formatted"`
	Renewed    bool     `json:"renewed"`
	Grown      bool     `json:"grown"`
	Records    uint64   `json:"records"`
	Bytes      uint64   `json:"bytes"`
	Advanced   uint64   `json:"advanced"`
	Kept       uint64   `json:"kept"`
	Blocks     uint64   `json:"blocks"`
	Failed     []uint64 `json:"failed"`
	Wrong      []uint64 `json:"wrong"`
	Device     string   `json:"device"`
	Kind       string   `json:"kind"`
	Rate       float64  `json:"rate"`
	Busy       float64  `json:"busy"`
}

// machine runs, with a disk that this process may change while the machine does
// not use it.
type machine struct {
	t       *testing.T
	folder  string
	size    int64
	orders  io.Writer
	lines   *bufio.Scanner
	console strings.Builder
	process *exec.Cmd
	read    int64 // of the log of writes
}

// patience is how long one order may take on a busy computer.
const patience = 10 * time.Minute

type machineOptions struct {
	size   int64  // of the disk, which is blank
	logged bool   // every write and flush of it
	cpu    string // softCPU, if it is empty
	limit  int    // of the disk, in megabytes a second, if it is not 0
}

// limitIOPS are the requests a second of a limited disk, for each megabyte a second:
// as of cloud disks of 30,000 and 1 GB a second.
const limitIOPS = 30

// common is a machine for all tests that run one after the other and put a disk of
// their own there first.
func (b bench) common(t *testing.T) *machine {
	t.Helper()
	if shared.machine == nil {
		shared.machine = b.boot(t, machineOptions{size: 64 << 20})
	}
	shared.machine.t = t
	return shared.machine
}

// start boots a machine for one test.
func (b bench) start(t *testing.T, o machineOptions) *machine {
	t.Helper()
	m := b.boot(t, o)
	t.Cleanup(m.end)
	return m
}

func (b bench) boot(t *testing.T, o machineOptions) *machine {
	t.Helper()
	folder, err := os.MkdirTemp(b.folder, "machine-")
	must(t, err)
	m := &machine{t: t, folder: folder, size: o.size}
	must(t, os.WriteFile(m.disk(), nil, 0o600))
	must(t, os.Truncate(m.disk(), o.size))
	data := []string{"-blockdev", "driver=file,node-name=data,filename=disk.img"}
	switch {
	case o.logged:
		must(t, os.WriteFile(m.log(), nil, 0o600))
		data = []string{
			"-blockdev", "driver=file,node-name=below,filename=disk.img",
			"-blockdev", "driver=file,node-name=log,filename=writes.log",
			"-blockdev", "driver=blklogwrites,node-name=data,file=below,log=log",
		}
	case o.limit > 0:
		data = []string{
			"-blockdev", "driver=file,node-name=below,filename=disk.img",
			"-object", fmt.Sprintf("throttle-group,id=limit,x-bps-total=%d,x-iops-total=%d", o.limit*1_000_000, o.limit*limitIOPS),
			"-blockdev", "driver=throttle,node-name=data,file=below,throttle-group=limit",
		}
	}
	cpu := o.cpu
	if cpu == "" {
		cpu = softCPU
	}
	args := append(b.emulator.Argv[1:len(b.emulator.Argv):len(b.emulator.Argv)],
		"-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", cpu, "-smp", "2", "-m", "768M",
		"-bios", filepath.Join(filepath.Dir(b.kernel), "OVMF.fd"), "-kernel", b.kernel, "-initrd", b.initramfs, "-append", b.options,
		"-chardev", "stdio,id=console,signal=off", "-device", "isa-serial,chardev=console", "-qmp", "unix:"+qemu.QMPSocket+",server=on,wait=off",
		"-blockdev", "driver=file,read-only=on,node-name=rootfs,filename="+filepath.Join(filepath.Dir(b.kernel), "rootfs.img"),
		"-device", "virtio-blk-pci,drive=rootfs,serial=rootfs", "-device", "virtio-blk-pci,drive=data,serial=data")
	m.process = exec.Command(b.emulator.Argv[0], append(args, data...)...)
	m.process.Env, m.process.Dir = append(os.Environ(), b.emulator.Env...), m.folder
	m.process.Stderr = &m.console
	orders, err := m.process.StdinPipe()
	must(t, err)
	out, err := m.process.StdoutPipe()
	must(t, err)
	must(t, m.process.Start())
	m.orders, m.lines = orders, bufio.NewScanner(out)
	m.lines.Buffer(nil, 1<<20)
	m.hear(nil) // that it has booted
	return m
}

func (m *machine) disk() string { return filepath.Join(m.folder, "disk.img") }
func (m *machine) log() string  { return filepath.Join(m.folder, "writes.log") }

func (m *machine) end() {
	m.process.Process.Kill()
	m.process.Wait()
	os.RemoveAll(m.folder)
}

// do gives an order and hears everything that the machine says until it is done.
// It returns the error that the machine said, if any.
func (m *machine) do(o order, each func(said)) (failed string) {
	m.t.Helper()
	b, err := json.Marshal(o)
	must(m.t, err)
	_, err = m.orders.Write(append(b, '\n'))
	must(m.t, err)
	return m.hear(each)
}

func (m *machine) hear(each func(said)) (failed string) {
	m.t.Helper()
	late := time.AfterFunc(patience, func() { m.process.Process.Kill() })
	defer late.Stop()
	for m.lines.Scan() {
		text, ours := strings.CutPrefix(strings.TrimSpace(m.lines.Text()), "inside: ")
		var s said
		if !ours || json.Unmarshal([]byte(text), &s) != nil {
			fmt.Fprintln(&m.console, m.lines.Text())
			continue
		}
		if s.Done {
			return failed
		}
		if s.Error != "" {
			failed = s.Error
		}
		if each != nil {
			each(s)
		}
		if s.Advanced > 0 || s.Kept > 0 { // it waits until that is written down
			if _, err := io.WriteString(m.orders, "\n"); err != nil {
				m.t.Fatalf("the machine ended: %v: %s", err, m.console.String())
			}
		}
	}
	m.t.Fatalf("the machine ended: %s%s", failed, m.console.String())
	return ""
}

// get reads the disk.
func (m *machine) get() []byte {
	m.t.Helper()
	b, err := os.ReadFile(m.disk())
	must(m.t, err)
	return b
}

// put makes the disk another one, of the same size.
func (m *machine) put(content []byte) {
	m.t.Helper()
	f, err := os.OpenFile(m.disk(), os.O_WRONLY, 0)
	must(m.t, err)
	defer f.Close()
	_, err = f.WriteAt(content, 0)
	must(m.t, err)
}

// softCPU is the processor of machines with the soft TEE (host/qemu).
const softCPU = "Nehalem,vendor=AuthenticAMD,+aes,+pclmulqdq,+sha-ni"
