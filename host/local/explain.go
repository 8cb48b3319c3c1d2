package local

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/secretvm/secretvm/host/console"
	"github.com/secretvm/secretvm/host/machine"
	"github.com/secretvm/secretvm/vm"
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
	case errors.As(err, &halt), errors.As(err, &failed):
		text := "\n    console: " + in.folder.ConsoleLog()
		if !in.guest.began("disk") {
			text = in.chainRecord() + trouble(in.relays) + text
		}
		return fmt.Errorf("%w%s", err, text)
	case errors.Is(err, machine.ErrPoweredOff):
		// The console's end comes before the process's: ask for QEMU's own words.
		if failure := in.run.Wait(context.Background()); failure != nil {
			return failure
		}
	}
	return fmt.Errorf("%w; the end of its console:\n    %s\n    console: %s", err,
		strings.Join(in.run.Console().Tail(tailLines), "\n    "), in.folder.ConsoleLog())
}

// chainLog is what the KMS keeps of a service's releases, newest first.
type chainLog struct {
	Refusals []struct {
		Height   int64  `json:"height"`
		Instance string `json:"instance_id"`
		vm.Refusal
	} `json:"refusals"`
}

// recordTimeout bounds the question for a refusal's record.
const recordTimeout = 10 * time.Second

// chainRecord returns the chain's own account of why this instance was refused,
// which the guest cannot have made up; empty if there is none.
func (in *Installation) chainRecord() string {
	if !in.kms.started() {
		return "" // a contract keeps none
	}
	ctx, cancel := context.WithTimeout(context.Background(), recordTimeout)
	defer cancel()
	var log chainLog
	if err := in.kms.ask(ctx, &log, "query", "kms", "log", in.service.ID); err != nil {
		return "\n    the chain's record could not be read: " + err.Error()
	}
	for _, r := range log.Refusals {
		if r.Instance != in.folder.Instance() {
			continue
		}
		text := fmt.Sprintf("\n    on the chain, height %d: %s", r.Height, console.Clean([]byte(r.Error())))
		if r.Hint != "" {
			text += "\n    try: " + console.Clean([]byte(r.Hint))
		}
		if r.Code == vm.CodeChain && in.trustRoot != "" {
			text += fmt.Sprintf("\n    the KMS in %s was made with another development root than %s: restore that one, or begin anew with another --state",
				in.kms.folder, in.trustRoot)
		}
		return text + "\n    the whole record, while the KMS runs: " + in.kms.command("query", "kms", "log", in.service.ID)
	}
	return ""
}

// firstLine is the failure itself, for the line of its step: a guest's own words
// where it gave some.
func firstLine(err error) string {
	text := err.Error()
	var halt console.Halt
	if errors.As(err, &halt) {
		text = halt.Reason
	}
	text, _, _ = strings.Cut(text, "\n")
	return text
}
