package runtime

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/secretvm/secretvm/disk/luks"
	"github.com/secretvm/secretvm/kms/client"
	"github.com/secretvm/secretvm/vm"
)

// session is what the key manager granted to this boot.
type session interface {
	// Decided returns the time of the block that granted, and between which moments of
	// this machine that was; zero where nobody vouches for a time.
	Decided() (block, offered, heard time.Time)
	// Generation is how often the chain has seen this instance's disk ready.
	Generation() uint64
	// DiskKeys returns the key of this instance's disk, and those that it may have
	// from earlier epochs, newest first.
	DiskKeys() ([]luks.Key, error)
	// Environment returns the variables that the owner sealed; nil: none.
	Environment() (vm.Environment, error)
	// Registry returns the auths of a Docker config that the owner sealed; nil:
	// none. The caller wipes it.
	Registry() ([]byte, error)
	// Suspects names nodes that answered wrongly, and how.
	Suspects() []string
	// Advance tells the chain that the disk has reached generation n. A
	// *client.Outage in the error says that nothing was decided.
	Advance(ctx context.Context, n uint64) error
}

// getKeys asks the key manager for this boot's keys. A refusal ends the boot; a
// key manager that cannot decide now is waited for.
func (m *machine) getKeys(ctx context.Context) (string, error) {
	if err := m.handover.config.Unsupported(); err != nil {
		return "", fmt.Errorf("config: %w", err)
	}
	if err := m.checked.wait(ctx); err != nil {
		return "", err
	}
	release, err := newRelease(m.handover, m.device, m.waiting())
	if err != nil {
		return "", err
	}
	m.session, err = release(ctx)
	switch {
	case err != nil && ctx.Err() != nil:
		return "", errStopped
	case err != nil:
		return "", refusal(err)
	}
	for _, suspect := range m.session.Suspects() {
		m.out.Note("keys: " + suspect)
	}
	if err := m.readyGPUs(ctx); err != nil {
		return "", err
	}
	moved, err := m.holdClock(ctx)
	return fmt.Sprintf("granted, generation %d%s", m.session.Generation(), moved), err
}

// waiting returns what tells everybody that the running step waits, and the
// console whatever nodes said about it, once.
func (m *machine) waiting() func(client.Wait) {
	var said string
	return func(w client.Wait) {
		m.journal.waiting(w)
		if err := w.Outage.Err; err != nil && err.Error() != said {
			said = err.Error()
			m.out.Note(m.journal.current() + ": waiting for the key manager: " + said)
		}
	}
}

// refusal puts the code of a refusal first, as the owner looks it up.
func refusal(err error) error {
	var r *vm.Refusal
	if !errors.As(err, &r) {
		return err
	}
	return fmt.Errorf("%s: %w", r.Code, err)
}
