package runtime

import (
	"slices"
	"sync"

	"github.com/secretvm/secretvm/step"
)

// journal passes steps on to the console and keeps their results, which the
// attestation service shows.
type journal struct {
	console step.Reporter

	mu      sync.Mutex
	results []step.Result
	running string
}

// Started implements step.Reporter.
func (j *journal) Started(name string) {
	j.mu.Lock()
	j.running = name
	j.mu.Unlock()
	j.console.Started(name)
}

// Finished implements step.Reporter.
func (j *journal) Finished(r step.Result) {
	j.mu.Lock()
	j.results = append(j.results, r)
	j.mu.Unlock()
	j.console.Finished(r)
}

// add puts the results of stage 1 first.
func (j *journal) add(earlier []step.Result) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.results = append(slices.Clone(earlier), j.results...)
}

// steps returns the results so far.
func (j *journal) steps() []step.Result {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.results)
}

// current is the step that runs or ran last.
func (j *journal) current() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.running
}
