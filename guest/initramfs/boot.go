// Package initramfs is stage 1 of the guest, run as /init of the initramfs: it
// measures what the machine is about to run and then runs exactly that.
//
// It fails closed. Before the event boot-complete stands in RTMR3 nothing
// outside the initramfs has run, and whatever goes wrong ends the machine: no
// shell, no second try. All bytes that the host serves are read once; the one
// exception, the root file system, is verified block by block by the kernel.
package initramfs

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/secretvm/secretvm/configdisk"
	"github.com/secretvm/secretvm/disk/verity"
	"github.com/secretvm/secretvm/guest/console"
	"github.com/secretvm/secretvm/step"
	"github.com/secretvm/secretvm/tee"
	"github.com/secretvm/secretvm/vm"
)

// Step is the name under which the console shows all of stage 1.
const Step = "measure"

// patience bounds stage 1, which takes about a second where nothing hangs.
const patience = time.Minute

// System is what stage 1 needs of the kernel below it.
type System interface {
	// MountBase makes /proc, /sys, /dev and /run, and attaches the console.
	MountBase() error
	// LoadModules loads the initramfs's modules and returns their number.
	LoadModules() (int, error)
	// OpenTEE returns the machine's TEE.
	OpenTEE() (tee.Device, error)
	// CommandLine returns the kernel command line, which the TEE measured.
	CommandLine() (string, error)
	// OpenConfig opens the config disk for one sequential read.
	OpenConfig(ctx context.Context) (io.ReadCloser, error)
	// MountRoot mounts the verified root file system for SwitchRoot.
	MountRoot(ctx context.Context, v vm.Verity) error
	// HandOver leaves a file for stage 2.
	HandOver(name string, content []byte) error
	// SwitchRoot makes the mounted root file system the machine's root and
	// becomes its first process. It returns only on an error.
	SwitchRoot() error
}

// boot is what the steps learn on the way.
type boot struct {
	sys     System
	device  tee.Device
	archive configdisk.Archive
	config  vm.Config
	verity  vm.Verity
	events  []vm.Event
}

// Boot runs stage 1 and becomes stage 2. It returns only on an error, after
// which the caller must end the machine.
func Boot(ctx context.Context, sys System, out *console.Console) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	b := &boot{sys: sys}
	measured, err := b.measure(ctx, out,
		// Make the kernel usable: file systems, drivers.
		step.Step{Name: "mount", Run: b.mountBase},
		step.Step{Name: "modules", Run: b.loadModules},
		// The TEE must be there, with RTMR3 untouched.
		step.Step{Name: "tee", Run: b.openTEE},
		// Read the config disk, once; from here on only the copy in memory counts.
		step.Step{Name: "config", Run: b.readConfig},
		// The workload's bytes are those that the config names.
		step.Step{Name: "workload", Run: b.checkWorkload},
		// The config is the one that the machine was launched with.
		step.Step{Name: "binding", Run: b.checkBinding},
		// Mount the root file system that the measured command line names.
		step.Step{Name: "command-line", Run: b.readCommandLine},
		step.Step{Name: "root", Run: b.mountRoot},
		// Record all that in RTMR3, boot-complete last.
		step.Step{Name: "events", Run: b.extendEvents},
	)
	if err != nil {
		return err
	}
	if err := b.handOver([]step.Result{measured}); err != nil {
		return err
	}
	return fmt.Errorf("switch root: %w", sys.SwitchRoot())
}

// measure runs the steps as the one step that the console shows.
func (b *boot) measure(ctx context.Context, out *console.Console, steps ...step.Step) (step.Result, error) {
	out.Started(Step)
	start := time.Now()
	var slow slowSteps
	err := step.Run(ctx, &slow, steps...)
	result := step.Result{Name: Step, Took: time.Since(start)}
	if err != nil {
		result.Error = err.Error()
	} else {
		result.Remark = fmt.Sprintf("%s TEE, root %.8s, config %.8s%s", b.device.Kind(), b.verity.RootHash, vm.HashOf(b.archive.Config), slow)
	}
	out.Finished(result)
	return result, err
}

// slowSteps collects the inner steps that took long enough to be mentioned. An
// error carries its step's name anyway.
type slowSteps string

func (*slowSteps) Started(string) {}

func (s *slowSteps) Finished(r step.Result) {
	if r.Took >= 200*time.Millisecond {
		*s += slowSteps(fmt.Sprintf(", %s %.1fs", r.Name, r.Took.Seconds()))
	}
}

func (b *boot) mountBase(context.Context) (string, error) { return "", b.sys.MountBase() }

func (b *boot) loadModules(context.Context) (string, error) {
	n, err := b.sys.LoadModules()
	return fmt.Sprintf("%d modules", n), err
}

func (b *boot) openTEE(ctx context.Context) (string, error) {
	device, err := b.sys.OpenTEE()
	if err != nil {
		return "", err
	}
	m, err := device.Read(ctx)
	if err != nil {
		return "", err
	}
	if r := m.RTMR[vm.RuntimeRegister]; !r.IsZero() {
		return "", fmt.Errorf("RTMR%d is %s before the first event, want zero", vm.RuntimeRegister, r)
	}
	b.device = device
	return string(device.Kind()), nil
}

func (b *boot) readConfig(ctx context.Context) (string, error) {
	disk, err := b.sys.OpenConfig(ctx)
	if err != nil {
		return "", err
	}
	defer disk.Close()
	if b.archive, err = configdisk.ReadArchive(disk); err != nil {
		return "", err
	}
	b.config, err = vm.ParseConfig(b.archive.Config)
	return "", err
}

func (b *boot) readCommandLine(context.Context) (string, error) {
	line, err := b.sys.CommandLine()
	if err != nil {
		return "", err
	}
	if b.verity, err = verity.ParseCommandLine(line); err != nil {
		return "", err
	}
	return "", b.checkDev(vm.IsDev(line))
}

func (b *boot) mountRoot(ctx context.Context) (string, error) {
	return "", b.sys.MountRoot(ctx, b.verity)
}
