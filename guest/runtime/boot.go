// Package runtime is stage 2 of the guest: the first process of the verified
// root file system. It gets keys, opens the disk, runs the workload and shows
// strangers what it runs, until it is told to stop.
//
// Nothing here decides what is trusted. Stage 1 has measured the config and
// the compose file, the key manager has judged the measurement, and the disk
// opens with the key or not at all. What fails ends the machine, with the disk
// closed.
package runtime

import (
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/secretvm/secretvm/guest/api/proof"
	"github.com/secretvm/secretvm/guest/attestation"
	"github.com/secretvm/secretvm/guest/clock"
	"github.com/secretvm/secretvm/guest/console"
	"github.com/secretvm/secretvm/guest/gpu"
	"github.com/secretvm/secretvm/guest/keys"
	"github.com/secretvm/secretvm/guest/process"
	"github.com/secretvm/secretvm/guest/workload/order"
	"github.com/secretvm/secretvm/step"
	"github.com/secretvm/secretvm/tee"
	"github.com/secretvm/secretvm/vm"
)

// machine is what the steps of a boot learn and start on the way.
type machine struct {
	out      *console.Console
	journal  *journal
	commands *process.Table
	handover handOver
	device   tee.Device
	cpu      tee.Device     // the same without GPUs, of a machine that has some
	gpus     *gpu.Process   // nil: the measured config demands none
	now      vm.Measurement // the registers after boot-complete
	booted   time.Time

	strangers *strangers  // who answers them
	dhcp      *os.File    // the socket of the client of DHCP; nil: none runs
	uplink    string      // the machine's network interface
	clock     clock.Clock // held against the key manager's chain
	reading   sync.Mutex  // of logs

	modules *task             // loading drivers
	work    *order.Process    // which runs the workload
	checked *task             // what it says of the compose file
	asker   *keys.Asker       // asks the key manager
	session granted           // what the key manager granted
	sockets map[string]string // of the machine's API, by service
	desk    *proof.Desk       // answers their API; nil: none is granted anything

	certificates atomic.Pointer[attestation.Report] // nil: none are wanted, or none yet

	stops stops // what a shutdown undoes, last first
}

// Run boots the machine, keeps it running, and stops it in order when ctx
// ends or the boot fails. It returns what to say before the power goes off:
// nil after a stop that was asked for, else the step that failed and why.
func Run(ctx context.Context, out *console.Console) (failed string, err error) {
	m := &machine{
		out: out, journal: &journal{console: out, over: true}, commands: new(process.Table), booted: time.Now(),
	}
	m.work = &order.Process{Commands: m.commands, Note: out.Note}
	ctx, cancel := m.listen(ctx)
	defer cancel()
	err = m.boot(ctx)
	var ailing error
	if err == nil {
		ailing = m.bringUp(ctx)
	}
	m.report(errors.Join(err, ailing))
	if err == nil {
		m.supervise(ctx)
		out.Note("stopping")
	}
	stopped := ctx.Err() != nil
	cancel()
	m.work.Over()
	m.stops.run(out.Note)
	if stopped {
		return "", nil
	}
	return m.journal.current(), err
}

// boot is the whole of stage 2 but for the workload, in order. Two things go on beside it: drivers
// load until the engine needs the last of them, and the attestation service
// answers as soon as there is a network.
func (m *machine) boot(ctx context.Context) error {
	return step.Run(ctx, m.journal,
		// Writable places, kernel settings, what stage 1 measured, the TEE.
		step.Step{Name: "prepare", Run: m.prepare},
		// An address by DHCP.
		step.Step{Name: "network", Run: m.startNetwork},
		// From here on strangers can ask what this machine is.
		step.Step{Name: "attestation", Run: m.startAttestation},
		// Quote, and be granted keys. Nothing has touched the data disk before.
		step.Step{Name: "keys", Run: m.getKeys},
		// Open the encrypted disk, or format it where that is safe.
		step.Step{Name: "disk", Run: m.openDisk},
		// dockerd, with all it stores on that disk.
		step.Step{Name: "engine", Run: m.startEngine},
	)
}

// bringUp is the last step: docker compose up of the measured file. A workload
// that fails does not end the machine, which goes on saying what it is.
func (m *machine) bringUp(ctx context.Context) error {
	return step.Run(ctx, m.journal, step.Step{Name: "workload", Run: m.startWorkload})
}

// task is work that goes on beside the steps, until somebody needs its result.
type task struct {
	done chan struct{}
	once sync.Once
	err  error
}

func start(run func() error) *task {
	t := begin()
	go func() { t.end(run()) }()
	return t
}

// begin makes a task that somebody ends.
func begin() *task { return &task{done: make(chan struct{})} }

// end says what became of the task; the first time counts.
func (t *task) end(err error) {
	t.once.Do(func() {
		t.err = err
		close(t.done)
	})
}

// wait returns the task's error once it is done.
func (t *task) wait(ctx context.Context) error {
	select {
	case <-t.done:
		return t.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// errStopped ends a wait that a shutdown interrupted.
var errStopped = errors.New("the machine is being stopped")

// within bounds a step.
func within(ctx context.Context, patience time.Duration, run func(context.Context) error) error {
	return step.Within(ctx, patience, run)
}
