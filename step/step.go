// Package step runs a process that is written down as data: a flat list of
// named steps. Boot, build and up are such lists; the list reads as their
// documentation, and the same names appear in progress, logs and errors.
package step

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Step is one named stage. Run returns a short remark for the person watching
// ("cached", "height 12"), which may be empty.
type Step struct {
	Name string
	Run  func(ctx context.Context) (remark string, err error)
}

// Result is what became of one step.
type Result struct {
	Name   string        `json:"name"`
	Remark string        `json:"remark,omitempty"`
	Took   time.Duration `json:"took_ns"`
	Error  string        `json:"error,omitempty"`
}

// Reporter is told of each step; implementations print, log or collect.
type Reporter interface {
	Started(name string)
	Finished(Result)
}

// Run runs the steps in order and stops at the first error, which it wraps
// with the step's name. A cancelled context ends the list before the next step.
func Run(ctx context.Context, to Reporter, steps ...Step) error {
	for _, s := range steps {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("%s: %w", s.Name, err)
		}
		to.Started(s.Name)
		start := time.Now()
		remark, err := s.Run(ctx)
		result := Result{Name: s.Name, Remark: remark, Took: time.Since(start)}
		if err != nil {
			result.Error = err.Error()
			to.Finished(result)
			return fmt.Errorf("%s: %w", s.Name, err)
		}
		to.Finished(result)
	}
	return nil
}

// Within bounds work of a step; the error says so, since a bare deadline says
// little.
func Within(ctx context.Context, patience time.Duration, run func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := run(ctx)
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("not done within %v: %w", patience, err)
	}
	return err
}

// Pause waits for d, or until ctx ends, which is its error.
func Pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
