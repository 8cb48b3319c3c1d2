package workload

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// Back-off between restarts of a daemon that dies; one that lived for calm
// starts again at the least.
const (
	minBackOff = time.Second
	maxBackOff = 30 * time.Second
	calm       = time.Minute
)

// Commands starts and waits for commands: see guest/process.
type Commands interface {
	Start(cmd *exec.Cmd) error
	Wait(cmd *exec.Cmd) error
	Run(ctx context.Context, cmd *exec.Cmd) ([]byte, error)
}

// daemon is a process that must not end: it is started again when it does.
type daemon struct {
	name     string
	commands Commands
	command  func() *exec.Cmd
	note     func(string)
	born     func(pid int) // called after each start; may be nil
	lost     func()        // called after each unexpected end, before the restart

	mu       sync.Mutex
	current  *exec.Cmd
	stopping bool
	died     int // unexpected ends in a row, each after less than calm
	log      tailLog
	stop     chan struct{}
	done     chan struct{}
}

// start starts the daemon for the first time; from then on it is watched.
func (d *daemon) start() error {
	d.stop, d.done = make(chan struct{}), make(chan struct{})
	if err := d.spawn(); err != nil {
		close(d.done)
		return fmt.Errorf("start %s: %w", d.name, err)
	}
	go d.watch()
	return nil
}

func (d *daemon) spawn() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopping {
		return errors.New("it is being stopped")
	}
	cmd := d.command()
	cmd.Stdout, cmd.Stderr = &d.log, &d.log
	if err := d.commands.Start(cmd); err != nil {
		return err
	}
	d.current = cmd
	if d.born != nil {
		d.born(cmd.Process.Pid)
	}
	return nil
}

func (d *daemon) watch() {
	defer close(d.done)
	wait := minBackOff
	for {
		started := time.Now()
		err := d.commands.Wait(d.current)
		if d.ended(time.Since(started) > calm) {
			return
		}
		if d.deaths() == 1 {
			wait = minBackOff
		}
		d.note(fmt.Sprintf("%s ended (%v), starting it again in %v: %s", d.name, err, wait, d.log.last()))
		if d.lost != nil {
			d.lost()
		}
		for {
			select {
			case <-d.stop:
				return
			case <-time.After(wait):
			}
			wait = min(2*wait, maxBackOff)
			if err = d.spawn(); err == nil {
				break
			}
			d.note(fmt.Sprintf("start %s: %v", d.name, err))
		}
	}
}

// ended counts an end, unless it was asked for.
func (d *daemon) ended(afterCalm bool) (stopping bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if afterCalm {
		d.died = 0
	}
	d.died++
	return d.stopping
}

// deaths returns how often the daemon ended in a row without a calm while.
func (d *daemon) deaths() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.died
}

// end stops the daemon: politely, and when ctx is over, by force.
func (d *daemon) end(ctx context.Context) error {
	d.mu.Lock()
	if d.current == nil {
		d.mu.Unlock()
		return nil
	}
	if !d.stopping {
		d.stopping = true
		close(d.stop)
	}
	process := d.current.Process
	d.mu.Unlock()
	_ = process.Signal(syscall.SIGTERM) // an error means that it has ended
	select {
	case <-d.done:
		return nil
	case <-ctx.Done():
	}
	_ = process.Kill()
	select {
	case <-d.done:
	case <-time.After(2 * time.Second):
	}
	return fmt.Errorf("stop %s: it did not end in time and was killed", d.name)
}
