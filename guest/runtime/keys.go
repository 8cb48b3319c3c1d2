package runtime

import (
	"context"
	"errors"
	"fmt"

	"github.com/secretvm/secretvm/guest/ipc"
	"github.com/secretvm/secretvm/guest/keys"
	"github.com/secretvm/secretvm/vm"
)

// startAsker starts the process that will ask the key manager, so that it is
// there when the network is.
func (m *machine) startAsker(ctx context.Context) error {
	m.asker = &keys.Asker{
		Commands: m.commands, Folder: ipc.Folder, User: ipc.UserKeys, Note: m.out.Note, Waiting: m.waiting(),
		Quotes:   keys.NewQuotes(m.device, m.handover.config),
		Settings: keys.Settings{Endpoints: m.handover.archive.Hints.KMS, Config: m.handover.archive.Config, Events: m.handover.events},
	}
	return m.asker.Start(ctx)
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
	if len(m.handover.archive.Hints.KMS) == 0 {
		return "", errors.New("the host names no key manager: put its URL into the hints (kms)")
	}
	released, err := m.asker.Release(ctx)
	switch {
	case err != nil && ctx.Err() != nil:
		return "", errStopped
	case err != nil:
		return "", refusal(err)
	}
	if m.handover.config.Disk.Ephemeral || m.uncounted() {
		m.asker.Stop() // nothing will be told to the key manager any more
	}
	m.session = newGranted(released, m.asker)
	for _, suspect := range released.Suspects {
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
func (m *machine) waiting() func(keys.Waiting) {
	var said string
	return func(w keys.Waiting) {
		m.journal.waiting(w.Text)
		if w.Said != "" && w.Said != said {
			said = w.Said
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
