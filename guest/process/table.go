// Package process runs commands in PID 1, which has two kinds of children: the
// commands it started, whose exit status somebody waits for, and orphans that
// the kernel handed to it, which somebody must reap. Waiting for any child
// would take exit statuses away from os/exec. So every command is started
// through a Table, which knows its own, and Reap waits only for zombies that
// are not in it.
package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/secretvm/secretvm/step"
)

// maxOutput bounds what Run keeps of a command's output, in bytes.
const maxOutput = 64 << 10

// waitDelay is how long after a command's end its pipes may stay open in
// grandchildren.
const waitDelay = 2 * time.Second

// Table knows the commands of this process. The zero value is ready to use.
type Table struct {
	// mu is held for reading while a child is born and not yet in own, and for
	// writing while zombies are looked through.
	mu  sync.RWMutex
	set sync.Mutex
	own map[int]bool
}

// Start starts cmd. Wait must be called for it. Children get a session of
// their own, so that a signal for the console's group never reaches them.
func (t *Table) Start(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	}
	cmd.WaitDelay = waitDelay
	t.mu.RLock()
	defer t.mu.RUnlock()
	if err := cmd.Start(); err != nil {
		return err
	}
	t.set.Lock()
	defer t.set.Unlock()
	if t.own == nil {
		t.own = map[int]bool{}
	}
	t.own[cmd.Process.Pid] = true
	return nil
}

// Wait waits for a command of Start.
func (t *Table) Wait(cmd *exec.Cmd) error {
	err := cmd.Wait()
	t.set.Lock()
	defer t.set.Unlock()
	delete(t.own, cmd.Process.Pid)
	return err
}

// Run runs cmd to its end and returns its output, standard error included
// unless the caller took either elsewhere. Of long outputs the end is kept.
func (t *Table) Run(ctx context.Context, cmd *exec.Cmd) ([]byte, error) {
	var out tail
	if cmd.Stdout == nil {
		cmd.Stdout = &out
	}
	if cmd.Stderr == nil {
		cmd.Stderr = &out
	}
	if err := t.Start(cmd); err != nil {
		return nil, err
	}
	err := t.Wait(cmd)
	if ctx.Err() != nil {
		err = fmt.Errorf("%w (%w)", err, ctx.Err())
	}
	return out.buf.Bytes(), err
}

// Reap waits for zombies that nobody else waits for and returns how many
// there were. Call it at SIGCHLD.
func (t *Table) Reap() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	reaped := 0
	for _, pid := range zombies() {
		t.set.Lock()
		own := t.own[pid]
		t.set.Unlock()
		if own {
			continue
		}
		if got, err := unix.Wait4(pid, nil, unix.WNOHANG, nil); err == nil && got == pid {
			reaped++
		}
	}
	return reaped
}

// zombies lists the dead children of this process from /proc.
func zombies() (dead []int) {
	self := strconv.Itoa(os.Getpid())
	for _, pid := range all() {
		// "pid (name) state ppid …"; the name may hold spaces and parentheses.
		stat := about(pid, "stat")
		_, rest, _ := bytes.Cut(stat[bytes.LastIndexByte(stat, ')')+1:], []byte(" "))
		fields := strings.Fields(string(rest))
		if len(fields) > 1 && fields[0] == "Z" && fields[1] == self {
			dead = append(dead, pid)
		}
	}
	return dead
}

// all lists the processes in /proc.
func all() (pids []int) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// about reads what /proc says of a process; nothing of one that has gone.
func about(pid int, file string) []byte {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	return b
}

// EndAll ends every process but this one and the kernel's: asked first, then
// killed.
func EndAll(ctx context.Context) error {
	if err := killAll(unix.SIGTERM); err != nil {
		return err
	}
	for range 20 {
		if !othersRun() {
			return nil
		}
		_ = step.Pause(ctx, 100*time.Millisecond)
	}
	return killAll(unix.SIGKILL)
}

// othersRun reports whether a process of user space beside this one lives, or
// nobody can tell. Kernel threads have no command line.
func othersRun() bool {
	pids := all()
	return len(pids) == 0 || slices.ContainsFunc(pids, func(pid int) bool { return pid != os.Getpid() && len(about(pid, "cmdline")) > 0 })
}

func killAll(signal unix.Signal) error {
	if os.Getpid() != 1 {
		return errors.New("signal all processes: only PID 1 may")
	}
	if err := unix.Kill(-1, signal); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("signal all processes: %w", err)
	}
	return nil
}

// tail keeps the last maxOutput bytes written to it.
type tail struct{ buf bytes.Buffer }

func (t *tail) Write(p []byte) (int, error) {
	n, _ := t.buf.Write(p)
	if over := t.buf.Len() - maxOutput; over > 0 {
		t.buf.Next(over)
	}
	return n, nil
}
