package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"
	"golang.org/x/term"

	"github.com/secretvm/secretvm/host/local"
	"github.com/secretvm/secretvm/vm"
)

func newExecCommand() *cobra.Command {
	var state, tee string
	c := &cobra.Command{
		Use:   "exec MACHINE [SERVICE] [-- COMMAND...]",
		Short: "Run a command in a machine of up that runs an image for development",
		Long: `exec runs a command in the container of a service, or without one in the machine
itself; without a command a shell. MACHINE is the service's name, as in the state
folder.

Only images for development (secretvm image build --dev) take commands. They say
so in what they measure, and secretvm verify refuses them. The exit code is that of
the command; 255 where there is none.`,
		Example: `  secretvm exec guestbook web -- env
  secretvm exec guestbook web
  secretvm exec guestbook -- dmesg`,
		Args: func(c *cobra.Command, args []string) error {
			dash := c.ArgsLenAtDash()
			if dash < 0 {
				dash = len(args)
			}
			if dash < 1 || dash > 2 {
				return &exitError{exitUsage, errors.New("want a machine, a service if any, and behind -- the command (see secretvm exec --help)")}
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) (err error) {
			if state == "" {
				if state, err = local.StateFolder(); err != nil {
					return err
				}
			}
			dash := c.ArgsLenAtDash()
			if dash < 0 {
				dash = len(args)
			}
			user := vm.DevMachine
			if dash == 2 {
				user = args[1]
			}
			client, err := local.Commands(state, vm.TEE(tee), args[0], user)
			if err != nil {
				return err
			}
			defer client.Close()
			return runRemote(c.Context(), client, args[dash:], c.InOrStdin(), c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	c.Flags().StringVar(&state, "state", "", "`FOLDER` of everything that up keeps (default $XDG_STATE_HOME/secretvm)")
	c.Flags().StringVar(&tee, "tee", string(vm.Soft), "as given to up")
	return c
}

// runRemote runs a command over the connection, on a terminal where this is one.
func runRemote(ctx context.Context, client *ssh.Client, command []string, stdin io.Reader, stdout, stderr io.Writer) error {
	session, err := client.NewSession()
	if err != nil {
		return fmt.Errorf("run a command: %w", err)
	}
	defer session.Close()
	defer context.AfterFunc(ctx, func() { client.Close() })()
	session.Stdin, session.Stdout, session.Stderr = stdin, stdout, stderr
	if in, ok := stdin.(*os.File); ok && term.IsTerminal(int(in.Fd())) {
		restore, err := sameTerminal(session, in)
		if err != nil {
			return err
		}
		defer restore()
	}
	if len(command) == 0 {
		if err = session.Shell(); err == nil {
			err = session.Wait()
		}
	} else {
		line, encodeErr := json.Marshal(command)
		if encodeErr != nil {
			return encodeErr
		}
		err = session.Run(string(line))
	}
	var ended *ssh.ExitError
	switch {
	case errors.As(err, &ended):
		return &exitError{ended.ExitStatus(), nil}
	case err != nil:
		return &exitError{255, fmt.Errorf("run a command: %w", err)}
	}
	return nil
}

// sameTerminal gives the command a terminal of the size of this one, which carries
// every key to it until restore.
func sameTerminal(session *ssh.Session, in *os.File) (restore func(), err error) {
	columns, rows, err := term.GetSize(int(in.Fd()))
	if err != nil {
		return nil, fmt.Errorf("look at the terminal: %w", err)
	}
	if err := session.RequestPty("xterm", rows, columns, nil); err != nil {
		return nil, fmt.Errorf("ask for a terminal: %w", err)
	}
	before, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return nil, fmt.Errorf("use the terminal: %w", err)
	}
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, syscall.SIGWINCH)
	go func() {
		for range resized {
			if columns, rows, err := term.GetSize(int(in.Fd())); err == nil {
				_ = session.WindowChange(rows, columns)
			}
		}
	}()
	return func() {
		signal.Stop(resized)
		close(resized)
		_ = term.Restore(int(in.Fd()), before)
	}, nil
}
