package dev

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"

	"github.com/secretvm/secretvm/configdisk"
	"github.com/secretvm/secretvm/vm"
)

const (
	hintsFile = "/run/secretvm/hints.json"
	socket    = "/run/docker.sock"
	console   = "/dev/ttyS0"
)

// Serve does all that this package is for until ctx ends.
func Serve(ctx context.Context) error {
	text, err := os.ReadFile(hintsFile)
	if err != nil {
		return fmt.Errorf("read the host's hints: %w", err)
	}
	var hints configdisk.Hints
	if err := json.Unmarshal(text, &hints); err != nil {
		return fmt.Errorf("read the host's hints: %w", err)
	}
	if err := os.Setenv("PATH", searchPath); err != nil { // where commands are looked for
		return err
	}
	shell := make(chan error, 1)
	go func() { shell <- Console(ctx, console) }()
	if hints.DevKey == "" { // nobody to answer
		return <-shell
	}
	engine := Engine{Socket: socket}
	s, err := NewServer(hints.DevKey, func(ctx context.Context, c Command) (int, error) {
		if c.Service == vm.DevMachine {
			return Run(ctx, c)
		}
		return engine.Run(ctx, c)
	})
	if err != nil {
		return err
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", ":"+strconv.Itoa(vm.DevPort))
	if err != nil {
		return fmt.Errorf("serve commands: %w", err)
	}
	return errors.Join(s.Serve(ctx, l), <-shell)
}
