package workload

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/secretvm/secretvm/configdisk"
	"github.com/secretvm/secretvm/guest/ipc"
	"github.com/secretvm/secretvm/guest/process"
	"github.com/secretvm/secretvm/guest/workload/order"
	"github.com/secretvm/secretvm/step"
	"github.com/secretvm/secretvm/vm"
)

const (
	enginePatience = 3 * time.Minute
	upPatience     = 30 * time.Minute // pulling large images over slow lines
	upAttempts     = 3
	containerGrace = 10 * time.Second // from SIGTERM to SIGKILL, Docker's own default
)

// Run is the process that runs the workload: it does what guestd asks, in the
// order of package order, until it is told to end.
func Run() error {
	var none struct{}
	if err := ipc.Settings(&none); err != nil {
		return err
	}
	ctx, stop := ipc.UntilStopped()
	defer stop()
	l, err := ipc.Inherited(0)
	if err != nil {
		return err
	}
	stayAlive()
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return fmt.Errorf("let containers open files: %w", err)
	}
	if err := endLeftovers(ctx, cgroups, "/run"); err != nil {
		return err
	}
	p, err := newPart(ctx, ipc.Folder, new(process.Table))
	if err != nil {
		return err
	}
	return p.serve(ctx, l)
}

// files is how many files a process of a container may open: as on a common host,
// where the kernel's own limit for the machine's first process is 4096.
var files = unix.Rlimit{Cur: 1024, Max: 524288}

// stayAlive keeps what this process has touched in memory, and has the kernel end
// others first: who ends the container that takes all memory is to be there then.
// Kernels that cannot run workloads all the same.
func stayAlive() {
	_ = unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | unix.MCL_ONFAULT)
	_ = spare(unix.Getpid())
}

// part is the state of the process.
type part struct {
	archive  configdisk.Archive // as measured
	config   vm.Config
	commands Commands
	board    board

	work    order.Work
	engine  *Engine
	project *Project
	shown   atomic.Pointer[Project] // once its engine answers

	live    context.Context // until the workload is taken down
	sink    context.CancelFunc
	risen   chan struct{} // closed when the first attempt to bring the project up is over,
	summary string        // and this is what it came to
	failure error
}

// newPart reads what stage 1 measured from folder.
func newPart(ctx context.Context, folder string, commands Commands) (*part, error) {
	p := &part{commands: commands}
	var err error
	if p.archive, p.config, err = configdisk.OpenFolder(folder); err != nil {
		return nil, err
	}
	p.live, p.sink = context.WithCancel(ctx)
	return p, nil
}

func (p *part) serve(ctx context.Context, l net.Listener) error {
	defer p.sink()
	s := ipc.NewServer(nil)
	ipc.Handle(s, order.Check, done(p.check))
	ipc.Handle(s, order.Prepare, func(ctx context.Context, w order.Work) (none struct{}, err error) { return none, p.prepare(ctx, w) })
	ipc.Handle(s, order.Engine, done(p.start))
	ipc.Handle(s, order.Up, func(ctx context.Context, _ struct{}) (string, error) { return p.up(ctx) })
	ipc.Handle(s, order.Tell, p.board.tell)
	ipc.Handle(s, order.Services, func(ctx context.Context, _ struct{}) ([]string, error) { return p.services(ctx) })
	ipc.Handle(s, order.Logs, p.logs)
	ipc.Handle(s, order.Down, within(p.down))
	ipc.Handle(s, order.Stop, within(func(ctx context.Context) error { return p.engine.Stop(ctx) }))
	return s.Serve(ctx, l)
}

// done answers a question that has neither content nor answer.
func done(run func(context.Context) error) func(context.Context, struct{}) (struct{}, error) {
	return func(ctx context.Context, none struct{}) (struct{}, error) { return none, run(ctx) }
}

// within answers a question that says how long it may take.
func within(run func(context.Context) error) func(context.Context, order.Patience) (struct{}, error) {
	return func(ctx context.Context, p order.Patience) (none struct{}, err error) {
		ctx, cancel := context.WithTimeout(ctx, p.Left)
		defer cancel()
		return none, run(ctx)
	}
}

// check holds the compose file against the measured config, before the machine
// asks for keys.
func (p *part) check(context.Context) error {
	if p.config.Images != "digest" {
		return nil
	}
	return CheckPinned(p.archive.Compose, p.config.Pins)
}

// prepare lays out what docker compose will read, all of it in memory.
func (p *part) prepare(ctx context.Context, w order.Work) (err error) {
	defer clear(w.Environment)
	defer clear(w.Registry)
	_, name, _ := strings.Cut(p.config.Service, "/")
	folder := filepath.Join(w.Run, "secretvm", "workload")
	if err := forget(w, folder); err != nil {
		return err
	}
	p.engine = NewEngine(Folders{Data: w.Data, Run: w.Run}, p.commands, p.board.note)
	p.project, err = p.engine.Project(name, folder, p.archive.Compose, p.archive.Files)
	if err != nil {
		return err
	}
	p.archive.Files = nil // they are in that folder now
	p.project.Profiles, p.project.seen = p.config.Profiles, p.board.containers
	if err := p.unseal(w); err != nil {
		return err
	}
	if len(w.Sockets) > 0 {
		if err := p.project.MountSockets(w.Sockets); err != nil {
			return err
		}
	}
	if acme := p.config.ACME; acme != nil && len(acme.Services) > 0 {
		if err := p.project.MountFolder(vm.TLSFolder, acme.Services); err != nil {
			return err
		}
	}
	w.Environment, w.Registry = nil, nil
	p.work = w
	if err := p.forwardRegistry(ctx); err != nil {
		return err
	}
	return p.pinImages(ctx)
}

// forget removes what a process before this one laid out.
func forget(w order.Work, folder string) error {
	left, err := filepath.Glob(filepath.Join(w.Run, "workload-*.yaml"))
	for _, path := range append(left, folder, folder+".yaml", folder+".env", w.Secrets) {
		err = errors.Join(err, os.RemoveAll(path))
	}
	return err
}

// unseal hands the workload what its owner sealed on the ledger: variables that
// the measured config names, files for the measured compose file's secrets, and
// logins to registries. Names are no secret, and one that is left out is worth a
// word.
func (p *part) unseal(w order.Work) error {
	var env vm.Environment
	if len(w.Environment) > 0 {
		var err error
		if env, err = vm.ParseEnvironment(w.Environment); err != nil {
			return err
		}
	}
	set, others := env.Allowed(p.config.Env)
	if len(others) > 0 {
		p.board.note("left out of the sealed environment, because the compose file's x-secretvm.env does not name them: " + strings.Join(others, ", "))
	}
	if err := p.project.Unseal(set, w.Registry); err != nil {
		return err
	}
	return p.project.Secrets(p.archive.Compose, env, w.Secrets)
}

// pinImages has images pulled by the digests in the measured config, and from
// the registry that the host hints at where that has them.
func (p *part) pinImages(ctx context.Context) error {
	var mirror func(string) bool
	if p.archive.Hints.Registry != "" {
		mirror = func(reference string) bool { return Mirrored(ctx, reference) }
	}
	return p.project.Pin(p.archive.Compose, p.config.Pins, mirror)
}

// forwardRegistry carries localhost:5000 to the registry that the host hints
// at, if it does.
func (p *part) forwardRegistry(ctx context.Context) error {
	address := p.archive.Hints.Registry
	if address == "" {
		return nil
	}
	l, err := ListenRegistry(ctx)
	if err != nil {
		return err
	}
	go func() {
		if err := Forward(p.live, l, address); err != nil {
			p.board.note(err.Error())
		}
	}()
	return nil
}

// start starts the engine within the workload's bounds, and compose beside it: it
// takes its time to read its file, and its first question waits for dockerd.
func (p *part) start(ctx context.Context) error {
	if err := p.hold(); err != nil {
		return err
	}
	if err := p.engine.Start(); err != nil {
		return err
	}
	go p.engine.Relieve(p.live)
	p.risen = make(chan struct{})
	go func() {
		defer close(p.risen)
		if p.failure = p.engine.Listening(p.live); p.failure == nil {
			p.summary, p.failure = p.project.Up(p.live)
		}
	}()
	err := step.Within(ctx, enginePatience, p.engine.Ready)
	p.shown.Store(p.project)
	return err
}

// up brings the compose file up, and has it kept up from then on. What could not
// be brought up is tried again; containers that ran and failed are left to their
// restart policies.
func (p *part) up(ctx context.Context) (remark string, err error) {
	err = step.Within(ctx, upPatience, func(ctx context.Context) error {
		remark, err = p.attempts(ctx)
		return err
	})
	if ctx.Err() == nil {
		var ill *Ailing
		go p.project.Watch(p.live, p.board.state, err == nil || errors.As(err, &ill))
	}
	return remark, err
}

// attempts: a registry may be away for a moment; a file that is wrong stays wrong,
// and fails as fast the third time.
func (p *part) attempts(ctx context.Context) (remark string, err error) {
	for attempt := 1; ; attempt++ {
		if attempt == 1 {
			if err = p.first(ctx); err == nil {
				remark = p.summary
			}
		} else {
			remark, err = p.project.Up(ctx)
		}
		var ill *Ailing
		if err == nil || ctx.Err() != nil || attempt == upAttempts || errors.As(err, &ill) {
			return remark, err
		}
		p.board.note(fmt.Sprintf("attempt %d of %d: %v", attempt, upAttempts, err))
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(attempt) * 3 * time.Second):
		}
	}
}

// first waits for the attempt that began with the engine.
func (p *part) first(ctx context.Context) error {
	select {
	case <-p.risen:
		return p.failure
	case <-ctx.Done():
		return ctx.Err()
	}
}

// down ends an attempt that goes on, and takes down what it brought up.
func (p *part) down(ctx context.Context) error {
	p.sink()
	if err := p.first(ctx); err != nil && ctx.Err() != nil {
		return err
	}
	return p.project.Down(ctx, containerGrace)
}

// services names the containers, none before there is an engine.
func (p *part) services(ctx context.Context) ([]string, error) {
	shown := p.shown.Load()
	if shown == nil {
		return nil, nil
	}
	return shown.Services(ctx)
}

// logs gives lines of containers, none before there is an engine.
func (p *part) logs(ctx context.Context, q order.LogQuery) ([]Line, error) {
	shown := p.shown.Load()
	if shown == nil {
		return nil, nil
	}
	lines, err := shown.Logs(ctx, q.Container, q.Lines, q.Since)
	order.Sort(lines)
	return order.Fit(lines[max(0, len(lines)-q.Lines):]), err
}
