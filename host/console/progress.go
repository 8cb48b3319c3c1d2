package console

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// Prefix begins the lines that a guest prints for its host.
const Prefix = "secretvm: "

const (
	haltPrefix  = Prefix + "HALT "
	panicMarker = "Kernel panic - not syncing: " // Linux, behind its time stamp
)

// Limits of what is shown of one progress line, in characters.
const (
	maxRemark = 200
	maxReason = 1000
)

// State is how far a step of the guest has come.
type State string

// The states of a step.
const (
	Start   State = "start"
	Waiting State = "waiting" // it goes on; the remark says what it waits for
	OK      State = "ok"
	Failed  State = "failed"
)

// Progress is one progress line of a guest.
type Progress struct {
	Step   string        // lower-case name, e.g. "disk"
	State  State         //
	Took   time.Duration // zero at the start
	Remark string        // printable, one line
	Error  string        // printable, one line; only when State is Failed
}

// Halt is a guest's reason for powering off.
type Halt struct {
	Step   string
	Reason string // printable, one line
}

func (h Halt) Error() string { return fmt.Sprintf("the guest halted at %s: %s", h.Step, h.Reason) }

var stepName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)

// ParseProgress reads a cleaned console line of the form
//
//	secretvm: {"step":"disk","state":"ok","ms":512,"remark":"opened, generation 3"}
//
// and reports false for any other line.
func ParseProgress(line string) (Progress, bool) {
	text, found := strings.CutPrefix(line, Prefix)
	if !found || !strings.HasPrefix(text, "{") {
		return Progress{}, false
	}
	var wire struct {
		Step   string `json:"step"`
		State  State  `json:"state"`
		Millis int64  `json:"ms"`
		Remark string `json:"remark"`
		Error  string `json:"error"`
	}
	if err := json.Unmarshal([]byte(text), &wire); err != nil {
		return Progress{}, false
	}
	known := wire.State == Start || wire.State == Waiting || wire.State == OK || wire.State == Failed
	if !known || !stepName.MatchString(wire.Step) || wire.Millis < 0 || wire.Millis > int64(24*time.Hour/time.Millisecond) {
		return Progress{}, false
	}
	p := Progress{Step: wire.Step, State: wire.State, Took: time.Duration(wire.Millis) * time.Millisecond}
	// Escapes inside the JSON may bring control characters back.
	p.Remark = limit(Clean([]byte(wire.Remark)), maxRemark)
	if wire.State == Failed {
		p.Error = limit(Clean([]byte(wire.Error)), maxReason)
	}
	return p, true
}

// ParseHalt reads a cleaned console line "secretvm: HALT <step>: <reason>" or
// the first line of a kernel panic, and reports false for any other line.
func ParseHalt(line string) (Halt, bool) {
	if stamp, reason, found := strings.Cut(line, panicMarker); found && (stamp == "" || stamp[0] == '[') {
		return Halt{Step: "kernel", Reason: limit("panic: "+reason, maxReason)}, true
	}
	text, found := strings.CutPrefix(line, haltPrefix)
	if !found {
		return Halt{}, false
	}
	step, reason, found := strings.Cut(text, ": ")
	if !found || !stepName.MatchString(step) {
		return Halt{Step: "boot", Reason: limit(text, maxReason)}, true
	}
	return Halt{Step: step, Reason: limit(reason, maxReason)}, true
}
