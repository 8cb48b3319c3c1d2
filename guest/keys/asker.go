package keys

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/secretvm/secretvm/guest/ipc"
	"github.com/secretvm/secretvm/step"
)

// How often in a row a process may end without an answer, after so long a pause,
// and how long it must have run not to count.
const (
	maxEnds = 5
	pause   = time.Second
	steady  = time.Minute
)

// Bounds of what the process has told to others than guestd.
const (
	maxText     = 200 // bytes
	maxSuspects = 128
)

// Asker starts the process and asks it, one question at a time.
type Asker struct {
	Commands ipc.Commands
	Settings Settings
	Quotes   *Quotes
	Waiting  func(Waiting) // is told why there is no decision yet
	Note     func(string)  // is told when the process is started again
	Folder   string        // for the socket: ipc.Folder
	User     int           // ipc.UserKeys
	Program  string        // empty: ipc.Program

	mu      sync.Mutex
	process *process // nil: none runs
}

// Start starts the process, so that it is there when it is asked.
func (a *Asker) Start(ctx context.Context) (err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.process, err = a.start(ctx)
	return err
}

// Release asks for this boot's keys until there is a decision or ctx ends. What
// the key manager refuses is a *vm.Refusal in the error.
func (a *Asker) Release(ctx context.Context) (*Released, error) {
	answer, err := persist(ctx, a, AskRelease, struct{}{})
	if err == nil && answer.Released == nil {
		err = errors.New("request keys: the process that asks the key manager brings none")
	}
	if err != nil {
		return nil, err
	}
	r := answer.Released
	r.Suspects = r.Suspects[:min(len(r.Suspects), maxSuspects)]
	for i := range r.Suspects {
		r.Suspects[i] = bounded(r.Suspects[i])
	}
	return r, nil
}

// Advance tells the key manager about the disk, and ends the process: nothing
// else is asked of it until the disk advances again.
func (a *Asker) Advance(ctx context.Context, q Advance) error {
	_, err := persist(ctx, a, AskAdvance, q)
	if err == nil {
		a.Stop()
	}
	return err
}

// Stop ends the process.
func (a *Asker) Stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.process != nil {
		a.process.running.Kill()
		a.process.client.Close()
		a.process = nil
	}
}

// persist puts a question, to another process where one ended and left it open.
// What was decided before is decided still: a release is a new one, and the disk
// advances to the same generation.
func persist[Q any](ctx context.Context, a *Asker, question string, q Q) (Answer, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for ends := 1; ; ends++ {
		if a.process == nil {
			var err error
			if a.process, err = a.start(ctx); err != nil {
				return Answer{}, err
			}
		}
		begun := time.Now()
		answer, err := ask(ctx, a, a.process, question, q)
		var g *gone
		var answered *ipc.Answered
		switch {
		case err == nil || errors.As(err, &answered):
			return answer, err
		case !errors.As(err, &g): // it works on, for nobody
			a.process.running.Kill()
			a.process.client.Close()
		}
		a.process = nil
		switch {
		case g == nil:
			return Answer{}, err
		case time.Since(begun) > steady:
			ends = 1
		case ends >= maxEnds:
			return Answer{}, fmt.Errorf("%w (%d times in a row)", err, ends)
		}
		a.Note(bounded(err.Error()) + "; starting it again")
		if err := step.Pause(ctx, pause); err != nil {
			return Answer{}, err
		}
	}
}

// bounded cuts a text off that is too long.
func bounded(text string) string { return text[:min(len(text), maxText)] }
