package local

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/secretvm/secretvm/host/console"
	"github.com/secretvm/secretvm/host/machine"
)

// tailLines is how much of a console an error shows.
const tailLines = 12

// explain adds to a failure of the guest where its record is and what to try.
func (in *Installation) explain(err error) error {
	var halt console.Halt
	var failed stepError
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &halt) && halt.Step == "keys", errors.As(err, &failed) && !in.guest.began("disk"):
		return fmt.Errorf("%w\n    the chain's record: %s", err, in.kms.command("query", "kms", "log", in.service.ID))
	case errors.As(err, &halt), errors.As(err, &failed):
		return fmt.Errorf("%w\n    console: %s", err, in.folder.ConsoleLog())
	case errors.Is(err, machine.ErrPoweredOff):
		// The console's end comes before the process's: ask for QEMU's own words.
		if failure := in.run.Wait(context.Background()); failure != nil {
			return failure
		}
	}
	return fmt.Errorf("%w; the end of its console:\n    %s\n    console: %s", err,
		strings.Join(in.run.Console().Tail(tailLines), "\n    "), in.folder.ConsoleLog())
}
