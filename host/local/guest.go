package local

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/secretvm/secretvm/host/console"
	"github.com/secretvm/secretvm/host/machine"
)

// guest is what the guest has said of its boot so far. It is the guest's word:
// it moves the display, and nothing else.
type guest struct {
	started time.Time

	mu      sync.Mutex
	steps   map[string]console.Progress
	at      map[string]time.Duration // when each step began or, without a start, ended; since power-on
	halt    *console.Halt
	ended   bool
	changed chan struct{} // closed and replaced at every change
}

// watch follows the console of run until it ends.
func watch(run *machine.Running, note Note) *guest {
	g := newGuest(run.Started())
	go func() {
		reader := run.Console().Follow()
		for line, more := reader.Next(nil); more; line, more = reader.Next(nil) {
			g.read(line, note)
		}
		g.change(func() { g.ended = true })
	}()
	return g
}

func newGuest(started time.Time) *guest {
	return &guest{started: started, steps: map[string]console.Progress{}, at: map[string]time.Duration{}, changed: make(chan struct{})}
}

// maxSteps bounds how many step names a guest can make the host remember.
const maxSteps = 64

func (g *guest) read(line string, note Note) {
	if p, is := console.ParseProgress(line); is {
		switch p.State {
		case console.Start:
			note("%s", p.Step)
		case console.Waiting:
			note("%s: %s", p.Step, p.Remark)
		}
		g.change(func() {
			if _, known := g.at[p.Step]; !known && len(g.at) < maxSteps {
				g.at[p.Step] = time.Since(g.started)
			}
			if _, known := g.at[p.Step]; known {
				g.steps[p.Step] = p
			}
		})
		return
	}
	if h, is := console.ParseHalt(line); is {
		g.change(func() {
			if g.halt == nil {
				g.halt = &h
			}
		})
	}
}

func (g *guest) change(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f()
	close(g.changed)
	g.changed = make(chan struct{})
}

// wait waits until the guest's step has ended. A failed step, a halt and the end
// of the console are errors.
func (g *guest) wait(ctx context.Context, name string) (console.Progress, error) {
	for {
		p, changed, err := g.look(name)
		if err != nil || p.State == console.OK {
			return p, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return p, fmt.Errorf("no answer from the guest within %s of power-on (raise it with --timeout)", time.Since(g.started).Round(time.Second))
			}
			return p, ctx.Err()
		}
	}
}

func (g *guest) look(name string) (console.Progress, <-chan struct{}, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	p := g.steps[name]
	switch {
	case p.State == console.OK:
		return p, nil, nil
	case p.State == console.Failed:
		return p, nil, stepError{p.Error}
	case g.halt != nil:
		return p, nil, *g.halt
	case g.ended:
		return p, nil, machine.ErrPoweredOff
	}
	return p, g.changed, nil
}

// stepError is a guest's own account of a failed step.
type stepError struct{ reason string }

func (e stepError) Error() string { return e.reason }

// failed reports whether the guest has said that the named step failed.
func (g *guest) failed(name string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.steps[name].State == console.Failed
}

// began reports whether the guest has begun or ended the named step.
func (g *guest) began(name string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, is := g.at[name]
	return is
}

// halted returns the guest's reason for powering off, nil if it gave none.
func (g *guest) halted() *console.Halt {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.halt
}

// timeline says when steps began, for the remark of the boot step.
func (g *guest) timeline() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var parts []string
	if at, is := g.at["measure"]; is {
		parts = append(parts, fmt.Sprintf("firmware and kernel %.1fs", at.Seconds()))
	}
	for _, name := range []string{"measure", "network"} {
		if p := g.steps[name]; p.Took > 0 {
			parts = append(parts, fmt.Sprintf("%s %.1fs", name, p.Took.Seconds()))
		}
	}
	return strings.Join(parts, ", ")
}
