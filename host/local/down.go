package local

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/secretvm/secretvm/step"
)

// kmsGrace is how long the KMS may take to end.
const kmsGrace = 20 * time.Second

// Wait waits until ctx is cancelled, which is no error, or a part of the
// installation ends by itself, which is one.
func (in *Installation) Wait(ctx context.Context) error {
	var softTEE <-chan struct{} // for ever, where there is none
	if in.run.SoftTEE() != nil {
		softTEE = in.run.SoftTEE().Done()
	}
	for _, n := range in.nodes {
		go func() {
			select {
			case <-n.run.Done():
				in.o.Warn("%s of the KMS powered off (its console: %s)", n.name, n.folder.ConsoleLog())
			case <-ctx.Done():
			}
		}()
	}
	watching, stop := context.WithCancel(ctx)
	defer stop()
	var lost <-chan struct{} // for ever, where the KMS is not ours
	var why func() error
	if in.kms.started() {
		lost, why = in.kms.lost(watching, in.o.Warn)
	}
	select {
	case <-ctx.Done():
		return nil
	case <-lost:
		return why()
	case <-softTEE:
		return in.run.SoftTEE().Failure()
	case <-in.run.Done():
		if err := in.run.Wait(ctx); err != nil {
			return err
		}
		if in.guest.halted() != nil {
			return in.explain(*in.guest.halted())
		}
		return fmt.Errorf("the guest powered off by itself (its console: %s)", in.folder.ConsoleLog())
	}
}

// Down stops what Up has started, in reverse order, and gives up the state
// folder. The end of ctx cuts the wait for the guest short. What could not be
// stopped in order is killed and reported; nothing is left running.
func (in *Installation) Down(ctx context.Context, to step.Reporter) error {
	var errs []error
	do := func(name string, run func(context.Context) (string, error)) {
		// One failure must not keep the rest from being stopped, so each is a list
		// of its own, and none ends with ctx.
		errs = append(errs, step.Run(context.WithoutCancel(ctx), to, step.Step{Name: name, Run: run}))
	}
	if in.run != nil {
		do("power off", func(context.Context) (string, error) { return in.powerOff(ctx) })
	}
	if in.sharing {
		do("kms shares", in.releaseNodes)
	}
	for _, n := range slices.Backward(in.nodes) {
		if n.run != nil {
			do(n.name, func(context.Context) (string, error) { return n.powerOff(ctx) })
		}
	}
	if in.nodeImages != nil {
		errs = append(errs, in.nodeImages.Close())
	}
	if in.registry != nil {
		errs = append(errs, in.registry.Close())
	}
	for _, r := range in.relays {
		errs = append(errs, r.Close())
	}
	if in.kms != nil && in.kms.started() {
		do("kms", func(context.Context) (string, error) {
			return "stopped", in.kms.stop(kmsGrace)
		})
	}
	if in.lock != nil {
		errs = append(errs, in.lock.Release())
	}
	return errors.Join(errs...)
}

// powerOff ends the machine and then its soft TEE.
func (in *Installation) powerOff(ctx context.Context) (string, error) {
	defer in.run.Close()
	select {
	case <-in.run.Done():
		return "the guest was off already", nil
	default:
	}
	if in.guest == nil || !in.guest.began("disk") {
		in.run.Kill() // nothing of the guest's was open
		return "the guest had not opened its disk", nil
	}
	ctx, cancel := context.WithTimeout(ctx, in.o.Grace)
	defer cancel()
	if err := in.run.PowerOff(ctx); err != nil {
		return "", err
	}
	return "the guest shut down; its data is kept", nil
}
