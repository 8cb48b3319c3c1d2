package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/secretvm/secretvm/compose"
	"github.com/secretvm/secretvm/configdisk"
	"github.com/secretvm/secretvm/host/doctor"
	"github.com/secretvm/secretvm/host/qemu"
	"github.com/secretvm/secretvm/image/oci"
	"github.com/secretvm/secretvm/vm"
)

// Options says what to run, and with which parts of the program.
type Options struct {
	Workload *compose.Workload
	State    string        // root of everything that is kept
	TEE      vm.TEE        // soft, or tdx where this computer can; others are refused with the reason
	Shape    vm.Shape      // zero fields: the workload's own
	GPUs     []string      // of this computer, to be given to the machine: PCI addresses, driven by vfio-pci
	OwnImage bool          // Image makes the base image, which brings up no GPUs
	Ports    map[int]int   // published port: port of this computer (0: any free one)
	Timeout  time.Duration // from power-on until the workload runs
	Grace    time.Duration // for the guest to shut down by itself
	KMSNodes int           // of the local KMS, when it is made and later; 0: one, or as many as it has
	KMSIn    string        // where these nodes run: InProcesses (or empty) or InMachines, with one process that founds
	KMSURLs  []string      // where the key manager answers that the workload chooses instead

	Seal    bool   // the secrets of the compose file, from the files beside it, before the boot
	EnvFile string // with these variables; implies Seal

	Network *configdisk.Network // hints for the machine; nil: it asks by DHCP

	// Image makes or finds the image folder and says which in a few words.
	Image func(ctx context.Context, note Note) (folder, remark string, err error)
	// QEMU makes or finds the emulator.
	QEMU func(ctx context.Context, note Note) (qemu.Binary, error)
	// Containers makes or finds the container images that the workload's folder
	// describes; nil if it describes none.
	Containers func(ctx context.Context, folder string, note Note) (*oci.Store, error)
	// NodeWorkload makes the machines of the KMS, with KMSIn.
	NodeWorkload NodeWorkload
	// TrustRoot makes or finds the development PKI in dir and returns the file
	// with its root certificate.
	TrustRoot func(dir string) (file string, err error)
	// Complete finds collateral for machines in a real TEE.
	Complete Complete
	// Examine says what this computer lacks for them; nil: doctor does.
	Examine func() doctor.Report
	// Kmsd is the path of the KMS's program, SecretVM that of this one, which
	// runs the soft TEE; Command is how a person calls this one.
	Kmsd, SecretVM, Command string
	// Note is told what the running step is doing, Warn what went wrong later
	// without ending it.
	Note, Warn Note
}

// MaxKMSNodes bounds the processes that a local KMS takes.
const MaxKMSNodes = 16

// Note shows what the running step is doing.
type Note func(format string, args ...any)

// StateFolder returns the default root of what is kept:
// $XDG_STATE_HOME/secretvm, or ~/.local/state/secretvm.
func StateFolder() (string, error) {
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "secretvm"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("find the state folder: %w (set XDG_STATE_HOME, or use --state)", err)
	}
	return filepath.Join(home, ".local", "state", "secretvm"), nil
}

// Check fills in what the workload decides and checks what can be checked before
// anything is started: an error is wrong usage.
func (o *Options) Check() error {
	if err := o.checkGPUs(pciDevices); err != nil {
		return err
	}
	switch o.TEE {
	case vm.Soft:
	case vm.TDX, vm.SNP:
		if o.Examine == nil {
			o.Examine = examine
		}
		if err := refuse(o.TEE, o.Examine()); err != nil {
			return err
		}
	default:
		return fmt.Errorf("--tee %q is not known, want %s, %s or %s", o.TEE, vm.Soft, vm.TDX, vm.SNP)
	}
	if o.Shape.CPUs == 0 {
		o.Shape.CPUs = o.Workload.Settings.Shape.CPUs
	}
	if o.Shape.Memory == 0 {
		o.Shape.Memory = o.Workload.Settings.Shape.Memory
	}
	if err := o.Shape.Validate(); err != nil {
		return fmt.Errorf("%w (--cpus, --memory, or x-secretvm.shape in %s)", err, o.Workload.Path)
	}
	if o.Workload.Settings.Service == "" {
		return fmt.Errorf("%s names no service: add x-secretvm: { service: NAME }", o.Workload.Path)
	}
	state, err := filepath.Abs(o.State)
	if err != nil {
		return fmt.Errorf("state folder: %w", err)
	}
	o.State = state
	if err := o.checkManager(); err != nil {
		return err
	}
	if err := errors.Join(o.checkNodes(), o.checkSeal()); err != nil {
		return err
	}
	if o.Note == nil {
		o.Note = func(string, ...any) {}
	}
	if o.Warn == nil {
		o.Warn = o.Note
	}
	return nil
}

// checkNodes holds the flags of the local KMS against one another.
func (o Options) checkNodes() error {
	if o.KMSNodes < 0 || o.KMSNodes > MaxKMSNodes {
		return fmt.Errorf("--kms-nodes %d: want 1 to %d", o.KMSNodes, MaxKMSNodes)
	}
	switch o.KMSIn {
	case "", InProcesses:
		return nil
	case InMachines:
	default:
		return fmt.Errorf("--kms-in %q: want %s or %s", o.KMSIn, InProcesses, InMachines)
	}
	switch {
	case o.KMSNodes == 0:
		return fmt.Errorf("--kms-in %s: say with --kms-nodes how many machines", InMachines)
	case o.TEE != vm.Soft:
		return fmt.Errorf("--kms-in %s is for the soft TEE: the evidence of nodes in %s lacks what the vendor signs, which only relayed releases are given", InMachines, o.TEE)
	}
	return nil
}

// founders is how many nodes of the KMS are processes; 0: as kms.make has it.
func (o Options) founders() int {
	if o.KMSIn == InMachines {
		return 1
	}
	return o.KMSNodes
}
