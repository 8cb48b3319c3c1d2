package runtime

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/secretvm/secretvm/disk/luks"
	"github.com/secretvm/secretvm/vm"
)

// session is what the key manager granted to this boot.
type session interface {
	// Generation is how often the chain has seen this instance's disk ready.
	Generation() uint64
	// DiskKey returns the key of this instance's disk.
	DiskKey() (luks.Key, error)
	// Advance tells the chain that the disk has reached generation n.
	Advance(ctx context.Context, n uint64) error
}

// Time-outs of one question to the key manager and of the pauses in between.
const (
	askPatience = time.Minute
	minPause    = 500 * time.Millisecond
	maxPause    = 15 * time.Second
)

// getKeys asks the key manager for this boot's keys. A refusal ends the boot;
// a key manager that cannot be reached is waited for.
func (m *machine) getKeys(ctx context.Context) (string, error) {
	if err := m.handover.config.Unsupported(); err != nil {
		return "", fmt.Errorf("config: %w", err)
	}
	release, err := newRelease(m.handover, m.device)
	if err != nil {
		return "", err
	}
	err = whileUnavailable(ctx, m.out.Note, "keys", func(ctx context.Context) (err error) {
		m.session, err = release(ctx)
		return err
	})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("granted, generation %d", m.session.Generation()), nil
}

// whileUnavailable asks until there is an answer, pausing longer and longer.
// Only "could not be reached" is asked again: a refusal will not change by
// repetition, and asking costs the chain a transaction. It notes what it waits
// for whenever that changes.
func whileUnavailable(ctx context.Context, note func(string), what string, ask func(context.Context) error) error {
	var said string
	for pause := minPause; ; pause = min(2*pause, maxPause) {
		attempt, cancel := context.WithTimeout(ctx, askPatience)
		err := ask(attempt)
		cancel()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return errStopped
		case !unavailable(err):
			return refusal(err)
		}
		if text := fmt.Sprintf("%s: waiting for the key manager: %v", what, err); text != said {
			note(text)
			said = text
		}
		select {
		case <-ctx.Done():
			return errStopped
		case <-time.After(pause):
		}
	}
}

func unavailable(err error) bool {
	return vm.CodeOf(err) == vm.CodeUnavailable || errors.Is(err, context.DeadlineExceeded)
}

// refusal puts the code of a refusal first, as the owner looks it up.
func refusal(err error) error {
	var r *vm.Refusal
	if !errors.As(err, &r) {
		return err
	}
	return fmt.Errorf("%s: %w", r.Code, err)
}
