package runtime

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/secretvm/secretvm/guest/initramfs"
	"github.com/secretvm/secretvm/guest/workload"
)

const (
	enginePatience = 3 * time.Minute
	upPatience     = 30 * time.Minute // pulling large images over slow lines
	upAttempts     = 3
	// secretsFolder holds the workload's secrets, in memory.
	secretsFolder = initramfs.HandOverDir + "/secrets"

	containerGrace = 10 * time.Second // from SIGTERM to SIGKILL, Docker's own default
)

// startEngine starts containerd and dockerd, and compose beside them: it takes
// its time to read its file, and its first question waits for dockerd.
func (m *machine) startEngine(ctx context.Context) (string, error) {
	m.engine = workload.NewEngine(workload.Folders{Data: dataFolder, Run: "/run"}, m.commands, m.out.Note)
	var err error
	m.project, err = m.engine.Project(m.handover.name(), filepath.Join(initramfs.HandOverDir, "workload"),
		m.handover.archive.Compose, m.handover.archive.Files)
	if err != nil {
		return "", err
	}
	if err := m.unseal(); err != nil {
		return "", err
	}
	if err := m.startAPI(ctx); err != nil {
		return "", err
	}
	if err := m.keepCertificates(ctx); err != nil {
		return "", err
	}
	if err := m.forwardRegistry(ctx); err != nil {
		return "", err
	}
	if err := m.pinImages(ctx); err != nil {
		return "", err
	}
	laps := newLaps()
	if err := m.modules.wait(ctx); err != nil {
		m.out.Note(err.Error()) // whether that matters, Docker will say
	}
	lockModules()
	laps.lap("drivers")
	if err := m.hold(ctx); err != nil {
		return "", err
	}
	m.stops.add("stop the container engine", 40*time.Second, m.engine.Stop)
	if err := m.engine.Start(); err != nil {
		return "", err
	}
	m.stops.add("stop the workload", containerGrace+20*time.Second, m.stopWorkload)
	go m.engine.Relieve(ctx)
	m.rise(ctx)
	err = within(ctx, enginePatience, m.engine.Ready)
	m.shown.Store(m.project)
	laps.lap("daemons")
	return strings.TrimPrefix(laps.text, ", "), err
}

// unseal hands the workload what its owner sealed on the ledger: variables that
// the measured config names, files for the measured compose file's secrets, and
// logins to registries. Names are no secret, and one that is left out is worth a
// word.
func (m *machine) unseal() error {
	env, err := m.session.Environment()
	if err != nil {
		return fmt.Errorf("environment from the key manager: %w", err)
	}
	set, others := env.Allowed(m.handover.config.Env)
	if len(others) > 0 {
		m.out.Note("left out of the sealed environment, because the compose file's x-secretvm.env does not name them: " + strings.Join(others, ", "))
	}
	auths, err := m.session.Registry()
	if err != nil {
		return fmt.Errorf("registry credentials from the key manager: %w", err)
	}
	defer clear(auths)
	if err := m.project.Unseal(set, auths); err != nil {
		return err
	}
	return m.project.Secrets(m.handover.archive.Compose, env, secretsFolder)
}

// rise begins the first attempt to bring the compose file up.
func (m *machine) rise(ctx context.Context) {
	ctx, m.sink = context.WithCancel(ctx)
	m.risen = start(func() (err error) {
		if err = m.engine.Listening(ctx); err == nil {
			m.summary, err = m.project.Up(ctx)
		}
		return err
	})
}

// startWorkload brings the compose file up.
func (m *machine) startWorkload(ctx context.Context) (remark string, err error) {
	err = within(ctx, upPatience, func(ctx context.Context) (err error) {
		// A registry may be away for a moment; a file that is wrong stays wrong,
		// and fails as fast the third time.
		for attempt := 1; ; attempt++ {
			if attempt == 1 {
				if err = m.risen.wait(ctx); err == nil {
					remark = m.summary
				}
			} else {
				remark, err = m.project.Up(ctx)
			}
			var ill *workload.Ailing
			if err == nil || ctx.Err() != nil || attempt == upAttempts || errors.As(err, &ill) {
				return err
			}
			m.out.Note(fmt.Sprintf("attempt %d of %d: %v", attempt, upAttempts, err))
			select {
			case <-ctx.Done():
			case <-time.After(time.Duration(attempt) * 3 * time.Second):
			}
		}
	})
	return remark, err
}

// stopWorkload ends an attempt that goes on, and takes down what it brought up.
func (m *machine) stopWorkload(ctx context.Context) error {
	m.sink()
	if err := m.risen.wait(ctx); err != nil && ctx.Err() != nil {
		return err
	}
	return m.project.Down(ctx, containerGrace)
}

// pinImages has images pulled by the digests in the measured config, and from
// the registry that the host hints at where that has them.
func (m *machine) pinImages(ctx context.Context) error {
	m.project.Profiles = m.handover.config.Profiles
	var mirror func(string) bool
	if m.handover.archive.Hints.Registry != "" {
		mirror = func(reference string) bool { return workload.Mirrored(ctx, reference) }
	}
	return m.project.Pin(m.handover.archive.Compose, m.handover.config.Pins, mirror)
}

// forwardRegistry carries localhost:5000 to the registry that the host hints
// at, if it does.
func (m *machine) forwardRegistry(ctx context.Context) error {
	address := m.handover.archive.Hints.Registry
	if address == "" {
		return nil
	}
	l, err := workload.ListenRegistry(ctx)
	if err != nil {
		return err
	}
	go func() {
		if err := workload.Forward(ctx, l, address); err != nil {
			m.out.Note(err.Error())
		}
	}()
	return nil
}
