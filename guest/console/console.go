// Package console writes what a person watching the machine's console, or the
// host's progress display, is told. It is the host's console: nothing secret
// goes there, and nobody should believe what it says.
//
// A line of progress is "secretvm: " and one JSON object:
//
//	secretvm: {"step":"disk","state":"start"}
//	secretvm: {"step":"keys","state":"waiting","remark":"2 of 4 nodes answer, 3 needed; next try in 8s"}
//	secretvm: {"step":"disk","state":"ok","ms":512,"remark":"opened, generation 3"}
//	secretvm: {"step":"disk","state":"failed","ms":98,"error":"…"}
//
// A machine that gives up says so in one line before it powers off:
//
//	secretvm: HALT disk: <reason>
package console

import (
	"encoding/json"
	"io"
	"os"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/secretvm/secretvm/step"
)

// Prefix begins every line.
const Prefix = "secretvm: "

// maxText bounds remarks, errors and reasons, in bytes.
const maxText = 500

// Line is the JSON object of a line of progress.
type Line struct {
	Step   string `json:"step"`
	State  string `json:"state"`        // start, waiting, ok or failed
	MS     int64  `json:"ms,omitempty"` // milliseconds since the step's start
	Remark string `json:"remark,omitempty"`
	Error  string `json:"error,omitempty"`
}

// Console writes lines to a terminal. It is a step.Reporter; its methods may be
// called by several goroutines.
type Console struct {
	mu   sync.Mutex
	w    io.Writer
	kept []Kept // the last lines
}

// New makes a Console that writes to w.
func New(w io.Writer) *Console { return &Console{w: w} }

// Started says that a step begins.
func (c *Console) Started(name string) { c.write(Line{Step: name, State: "start"}) }

// Waiting says what a step that goes on waits for.
func (c *Console) Waiting(name, what string) {
	c.write(Line{Step: name, State: "waiting", Remark: oneLine(what)})
}

// Finished says what became of a step.
func (c *Console) Finished(r step.Result) {
	line := Line{Step: r.Name, State: "ok", MS: r.Took.Milliseconds(), Remark: oneLine(r.Remark)}
	if r.Error != "" {
		line.State, line.Error = "failed", oneLine(r.Error)
	}
	c.write(line)
}

// Halt says in one readable line why the machine stops at a step, and waits
// until the line has left the serial port: the caller powers off next.
func (c *Console) Halt(name string, reason error) {
	why := strings.TrimPrefix(oneLine(reason.Error()), name+": ") // package step has named it too
	c.print("HALT " + name + ": " + why)
	if f, ok := c.w.(*os.File); ok {
		_ = unix.IoctlSetInt(int(f.Fd()), unix.TCSBRK, 1) // tcdrain; nothing to do about a failure
	}
}

func (c *Console) write(line Line) {
	text, _ := json.Marshal(line) // strings and numbers always encode
	c.print(string(text))
}

// print writes a line in one call, so that the kernel's own lines fall between
// ours. A console that cannot be written to must not stop a boot.
func (c *Console) print(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _ = io.WriteString(c.w, Prefix+text+"\n")
	c.keep(text)
}

// oneLine makes text safe to show: bounded, and without line breaks or control
// characters, which may come from the host's own bytes.
func oneLine(text string) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case r == utf8.RuneError || !unicode.IsPrint(r):
			return '?'
		}
		return r
	}, text)
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "…"
	}
	return text
}
