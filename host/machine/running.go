package machine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/secretvm/secretvm/host/console"
	"github.com/secretvm/secretvm/host/process"
	"github.com/secretvm/secretvm/host/qemu"
)

// Running is a started machine. Its methods may be called concurrently.
type Running struct {
	folder  *Folder
	lock    *Lock
	softTEE bool
	tee     *process.Process
	qemu    *process.Process
	qmp     *qemu.QMP
	console *console.Log
	started time.Time
	read    chan struct{} // closed when the console has been read to its end
	close   sync.Once
}

// ErrPoweredOff reports that the guest was gone before what was awaited came.
var ErrPoweredOff = errors.New("the machine powered off")

// Console returns the log of the guest's serial line.
func (r *Running) Console() *console.Log { return r.console }

// Started returns when QEMU was started.
func (r *Running) Started() time.Time { return r.started }

// PID returns QEMU's process id.
func (r *Running) PID() int { return r.qemu.PID() }

// Done is closed when QEMU has ended.
func (r *Running) Done() <-chan struct{} { return r.qemu.Done() }

// SoftTEE returns the soft TEE's process; nil for other machines.
func (r *Running) SoftTEE() *process.Process { return r.tee }

// Silent waits for the guest's first word. It reports whether none came within
// patience of power-on, from a machine that is still on.
func (r *Running) Silent(ctx context.Context, patience time.Duration) bool {
	waiting, cancel := context.WithDeadline(ctx, r.started.Add(patience))
	defer cancel()
	_, err := r.WaitLine(waiting, func(string) bool { return true })
	return errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil
}

// WaitLine returns the first console line that accept takes. It fails when the
// machine powers off before, with the guest's own reason if it printed one.
func (r *Running) WaitLine(ctx context.Context, accept func(line string) bool) (string, error) {
	reader := r.console.Follow()
	var halt *console.Halt
	for {
		line, more := reader.Next(ctx.Done())
		switch {
		case more && accept(line):
			return line, nil
		case more:
			if h, is := console.ParseHalt(line); is {
				halt = &h
			}
		case ctx.Err() != nil:
			return "", fmt.Errorf("wait for the console: %w", ctx.Err())
		case halt != nil:
			return "", *halt
		default:
			return "", r.ended()
		}
	}
}

// WaitText returns the first console line that contains text.
func (r *Running) WaitText(ctx context.Context, text string) (string, error) {
	return r.WaitLine(ctx, func(line string) bool { return strings.Contains(line, text) })
}

// WaitStep waits until the guest's step has ended well; a step that failed or a
// halt is an error with the guest's reason.
func (r *Running) WaitStep(ctx context.Context, step string) (console.Progress, error) {
	var p console.Progress
	_, err := r.WaitLine(ctx, func(line string) (is bool) {
		p, is = console.ParseProgress(line)
		return is && p.Step == step && p.State != console.Start && p.State != console.Waiting
	})
	if err == nil && p.State == console.Failed {
		err = fmt.Errorf("the guest's step %s failed: %s", step, p.Error)
	}
	return p, err
}

// WaitHalt waits until the guest gives a reason for powering off. A machine that
// ends without one is an error.
func (r *Running) WaitHalt(ctx context.Context) (console.Halt, error) {
	var halt console.Halt
	_, err := r.WaitLine(ctx, func(line string) (is bool) {
		halt, is = console.ParseHalt(line)
		return is
	})
	return halt, err
}

// Wait waits until the machine has powered off and its console is read. The
// error says why if QEMU failed; a guest that powered off by itself is no error.
func (r *Running) Wait(ctx context.Context) error {
	select {
	case <-r.qemu.Done():
		<-r.read
		if r.qemu.Err() != nil {
			return r.qemu.Failure()
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the machine to power off: %w", ctx.Err())
	}
}

// ended explains a console that ended: QEMU's failure, or a guest that powered off.
func (r *Running) ended() error {
	if err := r.qemu.Err(); err != nil {
		return r.qemu.Failure()
	}
	return ErrPoweredOff
}

// PowerOff presses the power button and waits for the guest to shut down by
// itself. When ctx ends first, the machine is killed and an error says so.
func (r *Running) PowerOff(ctx context.Context) error {
	err := r.qmp.PowerButton(ctx)
	if err == nil {
		err = r.Wait(ctx)
	}
	select {
	case <-r.qemu.Done():
		return nil // however the button did, the machine is off
	default:
	}
	r.qemu.Kill()
	return fmt.Errorf("power off: %w; the machine was killed, which is a power cut to the guest (its console: %s)", err, r.folder.ConsoleLog())
}

// Kill is a power cut.
func (r *Running) Kill() {
	r.qemu.Kill()
	<-r.read
}

// Close ends everything that still runs, the guest by a power cut, and gives up
// the folder. It may be called more than once.
func (r *Running) Close() {
	r.close.Do(func() {
		if r.qmp != nil {
			_ = r.qmp.Close() // QEMU is ended by other means
		}
		if r.qemu != nil {
			r.Kill()
		}
		if r.tee != nil {
			_ = r.tee.Stop(2 * time.Second) // it holds nothing that must be saved
		}
		_ = r.lock.Release() // the kernel does it at the latest when this process ends
	})
}

// Report describes the machine for a failed test or a bug report: the end of
// the console and where the logs are.
func (r *Running) Report(lines int) string {
	return fmt.Sprintf("end of the console (%s):\n    %s", r.folder.ConsoleLog(), strings.Join(r.console.Tail(lines), "\n    "))
}
