package machine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/secretvm/secretvm/host/console"
	"github.com/secretvm/secretvm/host/process"
	"github.com/secretvm/secretvm/host/qemu"
	"github.com/secretvm/secretvm/vm"
)

// Boot says what a machine is started with. Nothing of it is kept.
type Boot struct {
	Name     string // shown in process lists and messages
	QEMU     qemu.Binary
	TEE      vm.TEE
	Shape    vm.Shape
	GPUs     []string // as many as the shape has: PCI addresses of this computer, whose driver is vfio-pci
	Forwards []qemu.Forward

	Image   string // image folder
	Archive []byte // config archive, for the config disk

	// Soft machines: the registers as the launch would have left them, the
	// firmware's log that explains them (none: nil), and the command that runs the
	// soft TEE with its key folder, to which --socket, --measurement and
	// --boot-log are added.
	Measurement vm.Measurement
	BootLog     []byte
	SoftTEE     []string

	// Substitutes for files of the image and for its command line, for
	// tests that play a dishonest host. Empty: the image's own.
	Firmware, Kernel, Initramfs, Rootfs, CommandLine string
}

const (
	diskBlock    = 512 // a disk's size is a whole number of these, in bytes
	readyTimeout = 15 * time.Second
)

// Start starts the machine: soft TEE first, then QEMU. The folder is locked
// until Running.Close.
func (f *Folder) Start(ctx context.Context, b Boot) (_ *Running, err error) {
	r := &Running{folder: f, softTEE: b.TEE == vm.Soft}
	if r.lock, err = LockFolder(f.dir, "machine "+b.Name); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			r.Close()
		}
	}()
	m, err := f.arguments(b)
	if err != nil {
		return nil, err
	}
	if err := f.writeInputs(b); err != nil {
		return nil, err
	}
	if b.TEE == vm.Soft {
		if err := f.startSoftTEE(ctx, r, b); err != nil {
			return nil, err
		}
	}
	return r, f.startQEMU(ctx, r, b, m)
}

// arguments resolves the files of the image.
func (f *Folder) arguments(b Boot) (qemu.Machine, error) {
	var none qemu.Machine
	image, err := filepath.Abs(b.Image)
	if err != nil {
		return none, fmt.Errorf("start machine: %w", err)
	}
	text, err := os.ReadFile(filepath.Join(image, vm.ManifestName))
	if err != nil {
		return none, fmt.Errorf("start machine: %w", err)
	}
	manifest, err := vm.ParseManifest(text)
	if err != nil {
		return none, fmt.Errorf("start machine from %s: %w", image, err)
	}
	file := func(substitute string, of vm.File) string {
		if substitute != "" {
			return substitute
		}
		return filepath.Join(image, of.Name)
	}
	m := qemu.Machine{
		Name: b.Name, TEE: b.TEE, Shape: b.Shape, KVM: b.TEE == vm.Soft && qemu.HasKVM(), GPUs: b.GPUs, Forwards: b.Forwards,
		Firmware: file(b.Firmware, manifest.FirmwareOf(b.TEE)), Kernel: file(b.Kernel, manifest.Kernel),
		Initramfs: file(b.Initramfs, manifest.Initramfs), Rootfs: file(b.Rootfs, manifest.Rootfs),
		CommandLine: manifest.CommandLine, ConfigID: b.Measurement.MRConfigID,
		Config: filepath.Join(f.dir, configName), Data: f.Disk(),
	}
	if b.CommandLine != "" {
		m.CommandLine = b.CommandLine
	}
	err = confide(&m)
	return m, err
}

// confide adds what confidential machines need of this computer, and refuses
// firmware that would not measure or check what it boots.
func confide(m *qemu.Machine) (err error) {
	if m.TEE == vm.Soft {
		return nil
	}
	firmware, err := os.ReadFile(m.Firmware)
	if err != nil {
		return fmt.Errorf("start machine: %w", err)
	}
	if err := qemu.CheckFirmware(m.TEE, firmware, qemu.Verifying); err != nil {
		return fmt.Errorf("start machine with %s: %w", m.Firmware, err)
	}
	if m.TEE == vm.SNP {
		if m.Encryption, err = qemu.HostEncryption(); err != nil {
			return fmt.Errorf("start machine: %w", err)
		}
	}
	return nil
}

// writeInputs writes the config disk and the soft TEE's first registers.
func (f *Folder) writeInputs(b Boot) error {
	padded := make([]byte, (len(b.Archive)+diskBlock-1)/diskBlock*diskBlock)
	copy(padded, b.Archive)
	if len(padded) == 0 {
		padded = make([]byte, diskBlock) // QEMU wants no empty disk; a guest must refuse zeros
	}
	if err := f.write(configName, padded); err != nil {
		return fmt.Errorf("start machine: %w", err)
	}
	measurement, err := json.MarshalIndent(b.Measurement, "", "  ")
	if err != nil {
		return fmt.Errorf("start machine: encode measurement: %w", err)
	}
	if err := f.write(measurementName, append(measurement, '\n')); err != nil {
		return fmt.Errorf("start machine: %w", err)
	}
	if err := f.write(bootLogName, b.BootLog); err != nil {
		return fmt.Errorf("start machine: %w", err)
	}
	return nil
}

func (f *Folder) startSoftTEE(ctx context.Context, r *Running, b Boot) error {
	if len(b.SoftTEE) == 0 {
		return errors.New("start machine: no command for the soft TEE was given")
	}
	socket := filepath.Join(f.dir, qemu.TEESocket)
	if err := removeSocket(socket); err != nil {
		return fmt.Errorf("start machine: %w", err)
	}
	argv := append(append([]string(nil), b.SoftTEE...), "--socket", qemu.TEESocket, "--measurement", measurementName)
	if len(b.BootLog) > 0 {
		argv = append(argv, "--boot-log", bootLogName)
	}
	p, err := process.Start(process.Spec{Name: "soft TEE", Argv: argv, Dir: f.dir, Log: filepath.Join(f.dir, softTEELogName)})
	if err != nil {
		return fmt.Errorf("start machine: %w", err)
	}
	r.tee = p
	return waitFor(ctx, p, "listen", func() bool {
		info, err := os.Stat(socket)
		return err == nil && info.Mode()&os.ModeSocket != 0
	})
}

func (f *Folder) startQEMU(ctx context.Context, r *Running, b Boot, m qemu.Machine) error {
	args, err := m.Arguments()
	if err != nil {
		return err
	}
	if err := removeSocket(filepath.Join(f.dir, qemu.QMPSocket)); err != nil {
		return fmt.Errorf("start machine: %w", err)
	}
	logFile, err := os.OpenFile(f.ConsoleLog(), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("start machine: %w", err)
	}
	read, write, err := os.Pipe()
	if err != nil {
		logFile.Close()
		return fmt.Errorf("start machine: %w", err)
	}
	r.console, r.started = console.NewLog(logFile), time.Now()
	r.qemu, err = process.Start(process.Spec{
		Name: "QEMU", Argv: append(append([]string(nil), b.QEMU.Argv...), args...), Env: b.QEMU.Env,
		Dir: f.dir, Log: filepath.Join(f.dir, qemuLogName), Stdout: write,
	})
	write.Close()
	r.read = make(chan struct{})
	go func() {
		defer close(r.read)
		defer logFile.Close()
		defer read.Close()
		_, _ = r.console.ReadFrom(read) // the end of the pipe is the end of QEMU, however it came
	}()
	if err != nil {
		return fmt.Errorf("start machine: %w", err)
	}
	return waitFor(ctx, r.qemu, "answer", func() bool {
		r.qmp, err = qemu.DialQMP(ctx, f.dir)
		return err == nil
	})
}

// waitFor polls ready until it holds, the process ends or the time is up.
func waitFor(ctx context.Context, p *process.Process, verb string, ready func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ready() {
		select {
		case <-p.Done():
			return p.Failure()
		case <-ctx.Done():
			return fmt.Errorf("%s did not %s: %w", p.Name(), verb, ctx.Err())
		case <-tick.C:
		}
	}
	return nil
}

func removeSocket(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
