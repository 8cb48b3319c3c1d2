package local

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/secretvm/secretvm/configdisk"
	"github.com/secretvm/secretvm/host/machine"
	"github.com/secretvm/secretvm/host/qemu"
	"github.com/secretvm/secretvm/host/registry"
	"github.com/secretvm/secretvm/step"
	"github.com/secretvm/secretvm/vm"
)

// guestGateway is where the guest's user-mode network finds this computer's loopback.
const guestGateway = "10.0.2.2"

// Installation is everything that Up has started.
type Installation struct {
	o       Options
	name    string // of the machine's folder; empty: its service's
	reports *collector
	lock    *machine.Lock

	addresses   []Address
	attestation int
	trustRoot   string

	image    Image
	manifest string // file with which the machine is verified
	emulator qemu.Binary
	kms      *kms
	status   kmsStatus
	relays   []*relay // to the nodes of the KMS, of machines in a real TEE
	registry *registry.Server

	nodes      []*nodeMachine   // of the KMS, where it runs in machines
	nodeImages *registry.Server // theirs
	sharing    bool             // they may have shares
	// openNodeImage is what they boot; nil: what the workload's machine does.
	openNodeImage func() (Image, error)

	folder   *machine.Folder
	service  chainService
	config   vm.Config
	run      *machine.Running
	guest    *guest
	deadline time.Time
	failure  error  // of the workload; the machine runs
	heard    *heard // the first good answer, if one came before the guest called its workload up
}

// Up starts everything and returns when the workload runs. The Installation is
// never nil and holds whatever was started, also beside an error: the caller
// ends it with Down.
func Up(ctx context.Context, o Options, to step.Reporter) (*Installation, error) {
	in := &Installation{reports: &collector{to: to}}
	if err := o.Check(); err != nil {
		return in, err
	}
	in.o = o
	in.kms = &kms{program: o.Kmsd, folder: filepath.Join(in.o.home(), "kms"), shared: o.KMSIn == InMachines}
	if err := in.prepare(); err != nil {
		return in, err
	}
	return in, in.start(ctx, in.surroundings())
}

// start runs the steps before the machine and then the machine's.
func (in *Installation) start(ctx context.Context, surroundings []step.Step) error {
	if err := step.Run(ctx, in.reports, surroundings...); err != nil {
		return err
	}
	for attempt := 1; ; attempt++ {
		err := in.bearWith(step.Run(ctx, in.reports, in.life()...))
		if attempt > maxCrashes || !in.emulatorCrashed(err) {
			return err
		}
		in.again(attempt)
	}
}

// bearWith keeps a failure of the workload, which the guest reports and goes on:
// its logs and its attestation are there to be asked.
func (in *Installation) bearWith(err error) error {
	var failed stepError
	if in.guest == nil || !in.guest.failed("workload") || !errors.As(err, &failed) {
		return err
	}
	in.failure = err
	return nil
}

// Failure says why the workload of a running machine does not run; nil if it does.
func (in *Installation) Failure() error { return in.failure }

// surroundings is what up does, in order, before there is a machine.
func (in *Installation) surroundings() []step.Step {
	steps := []step.Step{
		// The image that the machine boots, and the emulator: built from locked
		// packages, or cached. What it will measure follows from its files.
		{Name: "image", Run: in.openImage},
		// The chain that decides who gets keys; made on first use. A workload may
		// choose a contract instead, which is only named.
		{Name: "kms", Run: in.startKMS},
	}
	if in.o.KMSIn == InMachines {
		steps = append(steps,
			// Machines that are to be nodes; they get their disks from the chain.
			step.Step{Name: "kms machines", Run: in.bootNodes},
			// They prove what they run, and the nodes share the key anew, with them.
			step.Step{Name: "kms shares", Run: in.admitNodes})
	}
	return append(steps, []step.Step{
		// Serves the images of the workload that exist only on this computer.
		{Name: "registry", Run: in.startRegistry},
		// The workload's service and this image of it, registered on the chain;
		// with a contract, what others have to register there.
		{Name: "service", Run: in.register},
	}...)
}

// life is the machine, from power-on until the workload answers.
func (in *Installation) life() []step.Step {
	return []step.Step{
		// Soft TEE and emulator, up to a measured system with a network.
		{Name: "boot", Run: in.boot},
		// From here on the guest works by itself, and this only watches.
		{Name: "keys", Run: in.guestStep("keys")},
		{Name: "disk", Run: in.guestStep("disk")},
		{Name: "engine", Run: in.guestStep("engine")},
		{Name: "workload", Run: in.workload},
		{Name: "attestation", Run: in.guestStep("attestation")},
		// What the person came for.
		{Name: "answer", Run: in.answer},
	}
}

// prepare takes the state folder and chooses the ports before anything starts.
func (in *Installation) prepare() (err error) {
	if in.lock, err = machine.LockFolder(in.o.State, "secretvm up "+in.o.Workload.Path); err != nil {
		return err
	}
	var notes []string
	ports := in.o.Workload.Ports()
	if p, ok := in.o.Workload.ChallengePort(); ok {
		ports = append(ports, p)
	}
	in.addresses, in.attestation, notes, err = plan(ports, in.o.Ports)
	in.reports.notes = notes
	return err
}

func (in *Installation) openImage(ctx context.Context) (string, error) {
	folder, remark, err := in.o.Image(ctx, in.o.Note)
	if err != nil {
		return "", err
	}
	if in.image, err = OpenImage(folder, in.o.Shape); err != nil {
		return "", err
	}
	if err := in.image.forGPUs(in.o.Shape.GPUs); err != nil {
		return "", err
	}
	in.emulator, err = in.o.QEMU(ctx, in.o.Note)
	return remark, err
}

func (in *Installation) startKMS(ctx context.Context) (_ string, err error) {
	if err := in.makeRoot(); err != nil {
		return "", err
	}
	if in.o.Workload.Settings.Manager != nil {
		return in.nameContract()
	}
	created, err := in.kms.make(ctx, in.o.founders(), in.trustRoot)
	if err != nil {
		return "", err
	}
	notes, err := in.kms.start(ctx)
	if err != nil {
		return "", err
	}
	in.reports.notes = append(in.reports.notes, notes...)
	if in.status, err = in.kms.status(ctx); err != nil {
		return "", err
	}
	if err := in.startRelays(); err != nil {
		return "", err
	}
	remark := count(len(in.status.Nodes), "node")
	if down := len(in.kms.nodes) - len(in.kms.live()); down > 0 {
		remark += fmt.Sprintf(" (%d down)", down)
	}
	remark += fmt.Sprintf(", group key %.4s…, height %d", in.status.GroupKey, in.status.Height)
	if created {
		remark += ", new"
	}
	return remark, nil
}

// machineFolder holds what is kept of the machine.
func (in *Installation) machineFolder() string {
	name := in.name
	if name == "" {
		name = in.o.Workload.Settings.Service
	}
	return filepath.Join(in.o.home(), "machines", name)
}

func (in *Installation) register(ctx context.Context) (_ string, err error) {
	w := in.o.Workload
	in.folder, err = machine.Open(in.machineFolder(), w.Settings.Disk.Size)
	if err != nil {
		return "", err
	}
	var ofItsOwn bool
	if in.manifest, ofItsOwn, err = in.image.manifestFor(in.folder.Dir()); err != nil {
		return "", err
	}
	if ofItsOwn {
		in.reports.notes = append(in.reports.notes, fmt.Sprintf("the image's manifest does not predict %s: a copy beside the machine does, "+
			"made from the image's files (to make it yourself: secretvm measure %s --shape %s)", in.o.Shape, in.image.Folder, in.o.Shape))
	}
	if w.Settings.Manager != nil {
		return in.askContract(ctx)
	}
	service, created, err := in.kms.ensureService(ctx, w.Settings.Service)
	if err != nil {
		return "", err
	}
	in.service = service
	manager, err := in.kms.identity(ctx, in.status)
	if err != nil {
		return "", err
	}
	in.config, err = w.Config(service.ID, manager, in.folder.Instance())
	if err != nil {
		return "", err
	}
	in.config.Dev = in.image.Manifest.Dev
	if err := in.config.Unsupported(); err != nil {
		return "", fmt.Errorf("x-secretvm in %s: %w", w.Path, err)
	}
	registration, err := in.image.Register(in.config)
	if err != nil {
		return "", err
	}
	added, err := in.kms.ensureImage(ctx, service, registration, filepath.Join(in.folder.Dir(), "registration.json"))
	if err != nil {
		return "", err
	}
	if err := in.sealed(ctx, created); err != nil {
		return "", err
	}
	state := "image active"
	switch {
	case created:
		state = "created, image added"
	case added:
		state = "image added"
	}
	return shorten(service.ID) + ", " + state, nil
}

func (in *Installation) boot(ctx context.Context) (string, error) {
	key, door, err := in.openDoor()
	if err != nil {
		return "", err
	}
	hints := configdisk.Hints{KMS: in.kmsHints(), Registry: in.registryHint(), Network: in.o.Network, DevKey: key}
	config, err := Archive(in.o.Workload, in.config, hints)
	if err != nil {
		return "", err
	}
	measurement, err := in.image.Launched(in.config)
	if err != nil {
		return "", err
	}
	in.deadline = time.Now().Add(in.o.Timeout)
	in.run, err = in.folder.Start(ctx, machine.Boot{
		Name: filepath.Base(in.folder.Dir()), QEMU: in.emulator, TEE: in.o.TEE, Shape: in.o.Shape, GPUs: in.o.GPUs,
		Forwards: append(forwards(in.addresses, in.attestation), door...), Image: in.image.Folder, Archive: config,
		Measurement: measurement, BootLog: in.image.BootLog,
		SoftTEE: []string{in.o.SecretVM, "soft-tee", "--pki", filepath.Dir(in.trustRoot)},
	})
	if err != nil {
		return "", err
	}
	in.guest = watch(in.run, in.o.Note)
	if in.o.TEE == vm.Soft && in.run.Silent(ctx, Silence) {
		return "", errHung
	}
	for _, name := range []string{"measure", "network"} {
		if remark, err := in.guestStep(name)(ctx); err != nil {
			return remark, err
		}
	}
	return in.guest.timeline(), nil
}

// guestStep waits for one of the guest's own steps.
func (in *Installation) guestStep(name string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		ctx, cancel := context.WithDeadline(ctx, in.deadline)
		defer cancel()
		p, err := in.guest.wait(ctx, name)
		if err != nil {
			return firstLine(err), in.explain(err)
		}
		return p.Remark, nil
	}
}
