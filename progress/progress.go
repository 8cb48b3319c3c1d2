// Package progress shows a person how far a list of steps has come: one line a
// step with its remark and its time, redrawn in place on a terminal.
package progress

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/secretvm/secretvm/step"
)

// Printer is a step.Reporter that writes to one stream, usually stderr.
type Printer struct {
	mu       sync.Mutex
	out      io.Writer
	terminal bool
	colour   bool
	name     string    // the running step, "" between steps
	remark   string    // what it is doing right now
	start    time.Time // when it started
	stop     chan struct{}
}

// New returns a Printer. Colours and redrawing are used only when out is a
// terminal; NO_COLOR (any value) turns colours off.
func New(out io.Writer) *Printer {
	p := &Printer{out: out}
	if f, ok := out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.terminal = true
		_, noColour := os.LookupEnv("NO_COLOR")
		p.colour = !noColour
	}
	return p
}

// Started notes that a step began; on a terminal a line with its running time appears.
func (p *Printer) Started(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.name, p.remark, p.start = name, "", time.Now()
	if p.terminal {
		p.stop = make(chan struct{})
		go p.tick(p.stop)
	}
}

// Note says what the running step is doing, for steps that take a while.
func (p *Printer) Note(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.remark = fmt.Sprintf(format, args...)
	if p.terminal {
		p.draw()
	}
}

// Finished prints the step's final line.
func (p *Printer) Finished(r step.Result) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stop != nil {
		close(p.stop)
		p.stop = nil
	}
	mark, colour, remark := "✓", "32", r.Remark
	if r.Error != "" {
		mark, colour = "✗", "31"
		if remark == "" {
			remark = "failed"
		}
	}
	if p.colour {
		mark = "\x1b[" + colour + "m" + mark + "\x1b[0m"
	}
	if p.terminal {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
	fmt.Fprintf(p.out, " %s %-12s %-48s %6.1fs\n", mark, r.Name, remark, r.Took.Seconds())
	p.name = ""
}

func (p *Printer) tick(stop chan struct{}) {
	t := time.NewTicker(200 * time.Millisecond)
	defer t.Stop()
	for {
		select {
		case <-stop:
			return
		case <-t.C:
			p.mu.Lock()
			if p.stop == stop {
				p.draw()
			}
			p.mu.Unlock()
		}
	}
}

// draw rewrites the running step's line; the caller holds the lock.
func (p *Printer) draw() {
	if p.name == "" {
		return
	}
	remark := p.remark
	if r := []rune(remark); len(r) > 48 {
		remark = string(r[:47]) + "…"
	}
	fmt.Fprintf(p.out, "\r\x1b[K   %-12s %-48s %6.1fs", p.name, remark, time.Since(p.start).Seconds())
}
