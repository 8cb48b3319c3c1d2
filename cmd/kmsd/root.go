package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/secretvm/secretvm/kms/node"
	"github.com/secretvm/secretvm/vm"
)

// Exit codes, documented in --help and stable; secretvm's are the same.
const (
	exitOK          = 0
	exitRefused     = 1
	exitUsage       = 2
	exitUnreachable = 4
)

// usageError is a command line that says nothing.
type usageError struct{ error }

// settings are the flags of every command.
type settings struct {
	home     string
	node     string
	json     bool
	from     string // account file of a transaction's signer
	unsigned string // file to write a transaction to, instead of sending it
	council  string // address of the council that is to send the message: it is proposed
}

// run executes one command line and returns its exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var s settings
	root := newRootCommand(&s)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	fmt.Fprintf(stderr, "kmsd: %v\n", err)
	var refusal *vm.Refusal
	if errors.As(err, &refusal) {
		if refusal.Hint != "" {
			fmt.Fprintf(stderr, "hint: %s\n", refusal.Hint)
		}
		if s.json {
			_ = json.NewEncoder(stdout).Encode(refusal)
		}
	}
	var usage usageError
	switch {
	case errors.As(err, &usage):
		return exitUsage
	case vm.CodeOf(err) == vm.CodeUnavailable:
		return exitUnreachable
	}
	return exitRefused
}

func newRootCommand(s *settings) *cobra.Command {
	root := &cobra.Command{
		Use:   "kmsd",
		Short: "A node of the key manager",
		Long: `kmsd runs a node of the key manager: a chain that decides in public which
machine may have which key, and this node's share of the group's secret.

Exit codes: 0 done, 1 refused or failed, 2 usage, 4 could not be reached.`,
		Example: `  kmsd init
  kmsd start &
  kmsd tx kms create-service web
  kmsd tx kms add-image web --image image.json
  kmsd query kms log web
  kmsd testnet --nodes 4 --dir kms`,
		SilenceUsage: true, SilenceErrors: true,
		Args: cobra.ArbitraryArgs, RunE: helpOnly,
	}
	root.PersistentFlags().StringVar(&s.home, "home", defaultHome(), "the node's folder")
	root.PersistentFlags().StringVar(&s.node, "node", "", "URL of the node to ask (default: the one that runs in --home)")
	root.PersistentFlags().BoolVar(&s.json, "json", false, "print results, and refusals, as JSON")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w (see %s --help)", err, c.CommandPath())}
	})
	root.AddCommand(newInitCommand(s), newTestnetCommand(s), newJoinCommand(s), newStartCommand(s), newStatusCommand(s), newTxCommand(s), newQueryCommand(s), newKeysCommand(s), newExportCommand(s), newRecoverCommand(s), newBackupCommand(s), newWipeCommand(s))
	return root
}

// defaultHome is in the user's state folder.
func defaultHome() string {
	state := os.Getenv("XDG_STATE_HOME")
	if state == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "kms"
		}
		state = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(state, "secretvm", "kms")
}

// folder is the home as package node knows it.
func (s *settings) folder() node.Home { return node.Home(s.home) }

// print writes a result: JSON when asked for, else lines that say the same.
func (s *settings) print(c *cobra.Command, v any, lines ...string) error {
	if s.json || len(lines) == 0 {
		enc := json.NewEncoder(c.OutOrStdout())
		enc.SetEscapeHTML(false)
		if !s.json {
			enc.SetIndent("", "  ")
		}
		return enc.Encode(v)
	}
	for _, line := range lines {
		fmt.Fprintln(c.OutOrStdout(), line)
	}
	return nil
}

// usageArgs turns a wrong number of arguments into a usage error.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if err := check(c, args); err != nil {
			return usageError{fmt.Errorf("%w (see %s --help)", err, c.CommandPath())}
		}
		return nil
	}
}

// group makes a command that only holds others.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, RunE: helpOnly}
	c.AddCommand(commands...)
	return c
}

// helpOnly shows a group's help, and calls an unknown command a usage error.
func helpOnly(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("unknown command %q (see %s --help)", args[0], c.CommandPath())}
	}
	return c.Help()
}
