package runtime

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/secretvm/secretvm/guest/initramfs"
	"github.com/secretvm/secretvm/guest/workload/order"
	"github.com/secretvm/secretvm/step"
)

const (
	// secretsFolder holds the workload's secrets, in memory.
	secretsFolder = initramfs.HandOverDir + "/secrets"

	downPatience = 30 * time.Second
	stopPatience = 40 * time.Second
	// Between attempts to start what runs the workload again; one that lasted for
	// calm is started again at the least.
	minRestart = time.Second
	maxRestart = time.Minute
	calm       = 5 * time.Minute
)

// startEngine has the process that runs the workload start dockerd, and compose
// beside it.
func (m *machine) startEngine(ctx context.Context) (string, error) {
	if err := m.startAPI(ctx); err != nil {
		return "", err
	}
	if err := m.keepCertificates(ctx); err != nil {
		return "", err
	}
	if err := m.prepareWorkload(ctx); err != nil {
		return "", err
	}
	laps := newLaps()
	if err := m.modules.wait(ctx); err != nil {
		m.out.Note(err.Error()) // whether that matters, Docker will say
	}
	lockModules()
	laps.lap("drivers")
	m.stops.add("stop the container engine", stopPatience, m.stopping(order.Stop))
	m.stops.add("stop the workload", downPatience, m.stopping(order.Down))
	_, err := order.Ask[struct{}, struct{}](ctx, m.work, order.Engine, struct{}{})
	laps.lap("daemons")
	return strings.TrimPrefix(laps.text, ", "), err
}

// prepareWorkload hands over what the workload needs that was not measured: where
// things are, and what its owner sealed on the ledger.
func (m *machine) prepareWorkload(ctx context.Context) error {
	w := order.Work{
		Data: dataFolder, Run: "/run", Secrets: secretsFolder, Uplink: m.uplink, Resolvers: resolvConf,
		GPUs: m.gpus != nil, Sockets: m.sockets,
	}
	env, err := m.session.Environment()
	if err == nil && env != nil {
		w.Environment, err = env.Encode()
	}
	if err != nil {
		return fmt.Errorf("environment from the key manager: %w", err)
	}
	defer clear(w.Environment)
	w.Registry = m.session.Registry()
	defer clear(w.Registry)
	_, err = order.Ask[order.Work, struct{}](ctx, m.work, order.Prepare, w)
	return err
}

// startWorkload has the compose file brought up, and kept up from then on.
func (m *machine) startWorkload(ctx context.Context) (remark string, err error) {
	return order.Ask[struct{}, string](ctx, m.work, order.Up, struct{}{})
}

// stopping asks for a stop, within the time that ctx leaves.
func (m *machine) stopping(question string) func(context.Context) error {
	return func(ctx context.Context) error {
		deadline, _ := ctx.Deadline() // every stop has one
		_, err := order.Ask[order.Patience, struct{}](ctx, m.work, question, order.Patience{Left: time.Until(deadline) - time.Second})
		return err
	}
}

// supervise starts what runs the workload again whenever it ends, until ctx does.
func (m *machine) supervise(ctx context.Context) {
	wait := minRestart
	for {
		began := time.Now()
		err := m.work.Wait(ctx)
		if time.Since(began) > calm {
			wait = minRestart
		}
		if ctx.Err() == nil {
			m.out.Note(fmt.Sprintf("what runs the workload has ended, starting it again in %v: %v", wait, err))
		}
		if step.Pause(ctx, wait) != nil {
			return
		}
		wait = min(2*wait, maxRestart)
		if err := m.workAgain(ctx); err != nil && ctx.Err() == nil {
			m.out.Note(fmt.Sprintf("bring the workload up again: %v", err))
		}
	}
}

// workAgain starts the process anew. It ends what is left of the one before, and
// has to be told everything again.
func (m *machine) workAgain(ctx context.Context) error {
	err := m.work.Start(ctx)
	if err == nil {
		err = m.prepareWorkload(ctx)
	}
	if err == nil {
		_, err = order.Ask[struct{}, struct{}](ctx, m.work, order.Engine, struct{}{})
	}
	if err != nil {
		m.work.Kill()
		return err
	}
	text, err := m.startWorkload(ctx) // which goes on by itself where that fails
	if err == nil {
		m.out.Note("the workload is up again: " + text)
	}
	return err
}

// checkWorkload has the compose file held against the measured config. It is
// waited for before anybody asks for keys.
func (m *machine) checkWorkload(ctx context.Context) error {
	_, err := order.Ask[struct{}, struct{}](ctx, m.work, order.Check, struct{}{})
	return err
}
