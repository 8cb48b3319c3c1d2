package ipc

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/secretvm/secretvm/step"
)

// Commands starts and waits for commands: see guest/process.
type Commands interface {
	Start(cmd *exec.Cmd) error
	Wait(cmd *exec.Cmd) error
}

// Service is a process of the machine beside guestd.
type Service struct {
	Program  string     // empty: Program
	Part     string     // of the program: its only argument, if it is not empty
	User     int        // and group; 0: root, which keeps its rights
	Env      []string   // all of it
	Files    []*os.File // that it inherits, from descriptor 3 on
	Settings any        // JSON on its standard input, which ends there
	Spared   bool       // the kernel ends any other process first where memory runs out
}

// Running is a service that was started.
type Running struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

// Start starts the service with commands.
func (s Service) Start(commands Commands) (*Running, error) {
	settings, err := json.Marshal(s.Settings)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", s.name(), err)
	}
	cmd := exec.Command(cmp.Or(s.Program, Program))
	if s.Part != "" {
		cmd.Args = append(cmd.Args, s.Part)
	}
	cmd.Dir, cmd.Env, cmd.Stderr, cmd.ExtraFiles = "/", append([]string{}, s.Env...), os.Stderr, s.Files
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if s.User != 0 {
		id := uint32(s.User)
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: id, Gid: id}
	}
	theirs, ours, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", s.name(), err)
	}
	cmd.Stdin = theirs
	err = commands.Start(cmd)
	theirs.Close()
	if err != nil {
		ours.Close()
		return nil, fmt.Errorf("start %s: %w", s.name(), err)
	}
	if s.Spared {
		spare(cmd.Process.Pid) // before it has its settings
	}
	go func() {
		_, _ = ours.Write(settings) // who has ended reads nothing
		clear(settings)
		ours.Close()
	}()
	r := &Running{cmd: cmd, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		r.err = commands.Wait(cmd)
	}()
	return r, nil
}

// name is what people call the service.
func (s Service) name() string { return cmp.Or(s.Part, filepath.Base(s.Program)) }

// spare lets a process keep itself in memory, and has the kernel look for another
// one where there is none left. A machine that cannot runs services all the same.
func spare(pid int) {
	// Without limit, as addresses that Go reserves count; memory itself is bounded (Confine).
	_ = unix.Prlimit(pid, unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}, nil)
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte("-900"), 0)
}

// Done is closed when the process has ended.
func (r *Running) Done() <-chan struct{} { return r.done }

// Wait returns how the process ended, which is never nothing: a service that was
// not stopped does not end.
func (r *Running) Wait(ctx context.Context) error {
	select {
	case <-r.done:
		if r.err == nil {
			return errors.New("it ended")
		}
		return r.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Stop asks the process to end and, when ctx ends before, ends it.
func (r *Running) Stop(ctx context.Context) error {
	_ = r.cmd.Process.Signal(unix.SIGTERM)
	select {
	case <-r.done:
		return nil
	case <-ctx.Done():
		r.Kill()
		<-r.done
		return ctx.Err()
	}
}

// Kill ends the process.
func (r *Running) Kill() { _ = r.cmd.Process.Kill() }

// pause is until a service that ended is started again.
const pause = time.Second

// Keep starts the service and starts it again whenever it ends, until ctx ends,
// which ends it. It returns the error of the first start; note learns of each end.
func (s Service) Keep(ctx context.Context, commands Commands, note func(string)) (stopped func(context.Context) error, err error) {
	running, err := s.Start(commands)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			if err == nil {
				err = running.Wait(ctx)
			}
			if ctx.Err() != nil {
				break
			}
			note(fmt.Sprintf("%s ended, starting it again: %v", s.name(), err))
			if step.Pause(ctx, pause) == nil {
				var again *Running
				if again, err = s.Start(commands); err == nil {
					running = again
				}
			}
		}
		grace, done := context.WithTimeout(context.WithoutCancel(ctx), stopPatience)
		defer done()
		_ = running.Stop(grace)
	})
	return func(context.Context) error { cancel(); all.Wait(); return nil }, nil
}

// stopPatience is how long a service may take to end.
const stopPatience = 5 * time.Second
