package process

import (
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestReapLeavesOwnChildren starts many short commands while orphans arrive
// and Reap runs without pause: every command keeps its exit status, and every
// orphan goes.
func TestReapLeavesOwnChildren(t *testing.T) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Skipf("cannot become a subreaper: %v", err)
	}
	defer func() { _ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) }()
	var table Table
	stop := make(chan struct{})
	var reaped int
	var reaper sync.WaitGroup
	reaper.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				reaped += table.Reap()
			}
		}
	})
	const commands = 40
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range commands / 4 {
				// The shell leaves a grandchild behind, which outlives it.
				out, err := table.Run(t.Context(), exec.Command("/bin/sh", "-c", "(sleep 0.05 >/dev/null 2>&1 &) ; echo hello; exit 7"))
				exit, ok := err.(*exec.ExitError)
				if !ok || exit.ExitCode() != 7 || string(out) != "hello\n" {
					t.Errorf("command gave %v and %q, want exit status 7", err, out)
				}
			}
		})
	}
	wg.Wait()
	time.Sleep(300 * time.Millisecond)
	close(stop)
	reaper.Wait()
	if reaped != commands {
		t.Errorf("reaped %d orphans, want %d", reaped, commands)
	}
	if left := zombies(); len(left) != 0 {
		t.Errorf("zombies are left: %v", left)
	}
	if len(table.own) != 0 {
		t.Errorf("table still knows %v", table.own)
	}
}

func TestRunKeepsTheEnd(t *testing.T) {
	var table Table
	out, err := table.Run(t.Context(), exec.Command("/bin/sh", "-c", "head -c 200000 /dev/zero | tr '\\0' x; echo end"))
	if err != nil || len(out) != maxOutput || !strings.HasSuffix(string(out), "end\n") {
		t.Errorf("got %d bytes and %v, want the last %d", len(out), err, maxOutput)
	}
}

func TestRunMissing(t *testing.T) {
	var table Table
	if _, err := table.Run(t.Context(), exec.Command("/nonexistent/tool")); err == nil {
		t.Error("a missing command: no error")
	}
}
