package local

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/secretvm/secretvm/host/console"
	"github.com/secretvm/secretvm/vm"
)

// maxCrashes is how often a machine is started again after the emulator has
// crashed its kernel.
const maxCrashes = 2

// emulatorCrashed reports that err is the emulator's doing. Linux patches its
// own code while it runs, by way of a breakpoint; QEMU's emulation of several
// CPUs can, rarely and on a busy computer, go on running the breakpoint after
// it is gone.
// Hardware does not, so nothing but an emulated machine is excused.
func (in *Installation) emulatorCrashed(err error) bool {
	if errors.Is(err, errHung) {
		return true
	}
	var halt console.Halt
	if err == nil || in.run == nil || in.o.TEE != vm.Soft || !errors.As(err, &halt) || halt.Step != "kernel" {
		return false
	}
	return BreakpointCrash(in.run.Console().Tail(consoleKept))
}

// Silence is how long an emulated guest may take to its first word. It takes
// ten seconds, or half a minute on a computer with much else to do.
const Silence = 90 * time.Second

// errHung says that the emulator is at work and the guest is not: the same
// fault as in emulatorCrashed, before the kernel has a console to say so.
var errHung = errors.New("the guest has not said a word in " + Silence.String())

// consoleKept is how far back in a console the cause of a panic is looked for.
const consoleKept = 400

// BreakpointCrash reports whether a console shows the crash of emulatorCrashed.
func BreakpointCrash(lines []string) bool {
	for _, line := range lines {
		if strings.Contains(line, "Oops: int3:") {
			return true
		}
	}
	return false
}

// again makes ready for another start of the machine. For its disk the crash
// was a power cut.
func (in *Installation) again(attempt int) {
	in.run.Close()
	in.run, in.guest = nil, nil
	in.reports.notes = append(in.reports.notes, fmt.Sprintf("the emulator lost the guest's kernel; it was started again (%d of %d)", attempt, maxCrashes))
}
