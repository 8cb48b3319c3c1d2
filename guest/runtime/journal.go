package runtime

import (
	"slices"
	"sync"
	"time"

	"github.com/secretvm/secretvm/guest/attestation"
	"github.com/secretvm/secretvm/guest/console"
	"github.com/secretvm/secretvm/step"
)

// journal passes steps on to the console and keeps their results, which the
// attestation service shows.
type journal struct {
	console *console.Console

	mu      sync.Mutex
	results []step.Result
	running string
	since   time.Time
	over    bool   // no step runs any more
	waits   string // what the running step waits for
}

// Started implements step.Reporter.
func (j *journal) Started(name string) {
	j.mu.Lock()
	j.running, j.since, j.over, j.waits = name, time.Now(), false, ""
	j.mu.Unlock()
	j.console.Started(name)
}

// Finished implements step.Reporter.
func (j *journal) Finished(r step.Result) {
	j.mu.Lock()
	j.results, j.over, j.waits = append(j.results, r), true, ""
	j.mu.Unlock()
	j.console.Finished(r)
}

// waiting keeps what the running step waits for, which the attestation service
// shows, and tells the console.
func (j *journal) waiting(what string) {
	j.mu.Lock()
	name := j.running
	j.waits = what
	j.mu.Unlock()
	j.console.Waiting(name, what)
}

// add puts the results of stage 1 first.
func (j *journal) add(earlier []step.Result) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.results = append(slices.Clone(earlier), j.results...)
}

// status returns the results so far, and the step that runs, if one does.
func (j *journal) status() (status attestation.Status) {
	j.mu.Lock()
	defer j.mu.Unlock()
	status.Steps = slices.Clone(j.results)
	if !j.over {
		status.Running, status.Ran, status.Waiting = j.running, time.Since(j.since), j.waits
	}
	return status
}

// current is the step that runs or ran last.
func (j *journal) current() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.running
}
