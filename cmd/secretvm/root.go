package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/secretvm/secretvm/vm"
)

// Exit codes, documented in --help and stable.
const (
	exitOK          = 0
	exitRefused     = 1 // the thing asked for was refused or failed
	exitUsage       = 2
	exitUnverified  = 3 // genuine, but nothing was given to compare with
	exitUnreachable = 4
)

// exitError carries the exit code of a command that could not do its work. A
// nil err means that the command has already said everything.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}
func (e *exitError) Unwrap() error { return e.err }

// run executes one command line and returns its exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRootCommand()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	var coded *exitError
	if !errors.As(err, &coded) {
		coded = &exitError{exitRefused, err}
	}
	if coded.err == nil {
		return coded.code
	}
	fmt.Fprintf(stderr, "secretvm: %v\n", err)
	var refusal *vm.Refusal
	if errors.As(err, &refusal) && refusal.Hint != "" {
		fmt.Fprintf(stderr, "  try: %s\n", refusal.Hint)
	}
	return coded.code
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "secretvm",
		Short: "Confidential virtual machines that anyone can verify",
		Long: `secretvm runs an unmodified docker-compose.yaml inside a confidential virtual
machine, so that the machine's operator can neither read nor change it, and
anyone can check that.

Exit codes: 0 done, 1 refused or failed, 2 usage, 3 genuine but nothing to
compare with (UNVERIFIED WORKLOAD), 4 could not be reached.`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return &exitError{exitUsage, fmt.Errorf("%w (see %s --help)", err, c.CommandPath())}
	})
	root.AddCommand(
		// One line a command; each lives in a file of its own.
		newCollateralCommand(),
		newHostCommand(),
		newImageCommand(),
		newMeasureCommand(),
		newOCICommand(),
		newServiceCommand(),
		newSoftTEECommand(),
		newUpCommand(),
		newVerifyCommand(),
		newShowCommand(),
		newExplainCommand(),
		newExecCommand(),
	)
	return root
}

// usageArgs turns a wrong number of arguments into a usage error.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if err := check(c, args); err != nil {
			return &exitError{exitUsage, fmt.Errorf("%w (see %s --help)", err, c.CommandPath())}
		}
		return nil
	}
}
