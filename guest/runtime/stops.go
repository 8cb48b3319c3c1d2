package runtime

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// stop undoes one thing that the boot did.
type stop struct {
	name     string
	patience time.Duration
	run      func(ctx context.Context) error
}

// stops is what a shutdown has to undo. A boot adds to it as it goes, so that
// it holds exactly what was started when a boot fails half-way.
type stops struct {
	mu   sync.Mutex
	list []stop
}

func (s *stops) add(name string, patience time.Duration, run func(ctx context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, stop{name, patience, run})
}

// run undoes everything, last first. A step that fails or takes too long is
// noted and passed over: whatever happens to the others, the disk is closed
// if it can be.
func (s *stops) run(note func(string)) {
	s.mu.Lock()
	list := s.list
	s.list = nil
	s.mu.Unlock()
	for i := len(list) - 1; i >= 0; i-- {
		if err := list[i].bounded(); err != nil {
			note(fmt.Sprintf("%s: %v", list[i].name, err))
		}
	}
}

// bounded returns after the step's patience and a little more even if the
// step ignores its context.
func (s stop) bounded() error {
	ctx, cancel := context.WithTimeout(context.Background(), s.patience)
	defer cancel()
	t := start(func() error { return s.run(ctx) })
	select {
	case <-t.done:
		return t.err
	case <-time.After(s.patience + 3*time.Second):
		return fmt.Errorf("still not done after %v, going on without it", s.patience)
	}
}
