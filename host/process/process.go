// Package process runs the programs that make up a local installation: each in
// a process group of its own, so that ^C in a terminal reaches only their
// parent, which stops them in order; and each bound to its parent's life, so
// that nothing is left behind when that is killed.
package process

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/secretvm/secretvm/host/console"
)

// Spec says what to run.
type Spec struct {
	Name   string    // how messages call it
	Argv   []string  // program and arguments; never secrets
	Dir    string    // working directory
	Env    []string  // added to the parent's environment
	Log    string    // file for standard error, and for standard output unless Stdout is set
	Stdout io.Writer // nil: the log
}

// Process is a running child.
type Process struct {
	name string
	log  string
	pid  int
	done chan struct{}
	err  error // why it ended, nil for exit code 0; valid after done is closed
}

// Start runs the program. The child is killed when this process dies, however
// that happens.
func Start(spec Spec) (*Process, error) {
	log, err := os.OpenFile(spec.Log, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", spec.Name, err)
	}
	cmd := exec.Command(spec.Argv[0], spec.Argv[1:]...)
	cmd.Dir = spec.Dir
	cmd.Env = append(os.Environ(), spec.Env...)
	cmd.Stderr, cmd.Stdout = log, log
	if spec.Stdout != nil {
		cmd.Stdout = spec.Stdout
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	p := &Process{name: spec.Name, log: spec.Log, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The kernel ties the death signal to the thread that forked: this one
		// stays until the child has ended.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer log.Close()
		err := cmd.Start()
		if err == nil {
			p.pid = cmd.Process.Pid
		}
		started <- err
		if err == nil {
			p.err = cmd.Wait()
			close(p.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", spec.Name, err)
	}
	return p, nil
}

// Name returns the name that the process was started with.
func (p *Process) Name() string { return p.name }

// PID returns the process id.
func (p *Process) PID() int { return p.pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err waits for the process to end and returns nil if its exit code was 0.
func (p *Process) Err() error {
	<-p.done
	return p.err
}

// Running reports whether the process has not ended yet.
func (p *Process) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Stop asks the process to end (SIGTERM), waits for at most grace and then
// kills its whole group. It returns an error only if it had to kill.
func (p *Process) Stop(grace time.Duration) error {
	if !p.Running() {
		return nil
	}
	_ = syscall.Kill(p.pid, syscall.SIGTERM) // fails only if it has just ended
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.done:
		return nil
	case <-timer.C:
		p.Kill()
		return fmt.Errorf("%s did not end within %s of SIGTERM and was killed", p.name, grace)
	}
}

// Kill ends the process group at once and waits until the process is gone.
func (p *Process) Kill() {
	if p.Running() {
		_ = syscall.Kill(-p.pid, syscall.SIGKILL) // fails only if it has just ended
	}
	<-p.done
}

// Failure describes a process that ended by itself, with the end of its log.
func (p *Process) Failure() error {
	err := p.Err()
	if err == nil {
		err = errors.New("exit status 0")
	}
	text := fmt.Sprintf("%s ended: %v", p.name, err)
	if tail := Tail(p.log, 12); len(tail) > 0 {
		text += "\n    " + strings.Join(tail, "\n    ")
	}
	return fmt.Errorf("%s\n    log: %s", text, p.log)
}

// tailSize is how much of the end of a log Tail reads, in bytes.
const tailSize = 16 << 10

// Tail returns the last n lines of a log file as printable text; none if it
// cannot be read.
func Tail(path string, n int) []string {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > tailSize {
		_, _ = f.Seek(-tailSize, io.SeekEnd)
	}
	b, _ := io.ReadAll(io.LimitReader(f, tailSize))
	var lines []string
	for line := range strings.Lines(string(b)) {
		if text := console.Clean([]byte(line)); text != "" {
			lines = append(lines, text)
		}
	}
	return lines[max(0, len(lines)-n):]
}
