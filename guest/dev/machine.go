package dev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const searchPath = "/usr/sbin:/usr/bin"

// environment of what runs in the machine itself.
var environment = []string{"PATH=" + searchPath, "HOME=/root", "TERM=linux", "PS1=dev# ", "DOCKER_HOST=unix:///run/docker.sock"}

// Run runs a command in the machine itself, or a shell.
func Run(ctx context.Context, c Command) (int, error) {
	words := c.Words
	if len(words) == 0 {
		words = []string{"/bin/sh"}
	}
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Env, cmd.Dir, cmd.WaitDelay = environment, "/", time.Second
	var err error
	if c.Terminal != nil {
		err = onTerminal(ctx, cmd, c)
	} else {
		err = piped(cmd, c)
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode() & 0xff, nil
	}
	return 0, err
}

// piped does not wait for input that nobody ends.
func piped(cmd *exec.Cmd, c Command) error {
	cmd.Stdout, cmd.Stderr = c.Out, c.Err
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(in, c.In)
		in.Close()
	}()
	return cmd.Wait()
}

// onTerminal gives a command a terminal of its own.
func onTerminal(ctx context.Context, cmd *exec.Cmd, c Command) error {
	ours, theirs, err := openTerminal()
	if err != nil {
		return fmt.Errorf("make a terminal: %w", err)
	}
	defer ours.Close()
	size := func(t Terminal) {
		_ = unix.IoctlSetWinsize(int(ours.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: uint16(t.Columns), Row: uint16(t.Rows)})
	}
	size(*c.Terminal)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, theirs, theirs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	err = cmd.Start()
	theirs.Close()
	if err != nil {
		return err
	}
	go func() { _, _ = io.Copy(ours, c.In) }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		for {
			select {
			case t := <-c.Resize:
				size(t)
			case <-ctx.Done():
				return
			}
		}
	}()
	_, _ = io.Copy(c.Out, ours) // ends with an error when the last of theirs is closed
	return cmd.Wait()
}

// openTerminal makes a pseudo-terminal (pty(7)).
func openTerminal() (ours, theirs *os.File, err error) {
	if ours, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		return nil, nil, err
	}
	number, err := unix.IoctlGetInt(int(ours.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(ours.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		theirs, err = os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		ours.Close()
	}
	return ours, theirs, err
}

// Console runs a shell on a terminal such as /dev/ttyS0, from when somebody presses
// a key there: before that, nothing is written between the machine's own lines.
func Console(ctx context.Context, path string) error {
	for ctx.Err() == nil {
		terminal, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY, 0)
		if err != nil {
			return fmt.Errorf("open the console: %w", err)
		}
		if _, err := terminal.Read(make([]byte, 1)); err == nil {
			cmd := exec.CommandContext(ctx, "/bin/sh")
			cmd.Env, cmd.Dir = environment, "/"
			cmd.Stdin, cmd.Stdout, cmd.Stderr = terminal, terminal, terminal
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
			err = cmd.Run()
			if err != nil {
				fmt.Fprintln(terminal, "dev:", err)
			}
		}
		terminal.Close()
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
	return nil
}
