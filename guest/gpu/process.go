package gpu

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/secretvm/secretvm/guest/ipc"
	"github.com/secretvm/secretvm/vm"
)

// Process is the running process. It works on one question at a time.
type Process struct {
	running *ipc.Running
	asked   *ipc.Client
}

// Start starts the process, which is asked at socket and inherits it. Its rights
// are those of its service: it loads drivers.
func Start(ctx context.Context, commands ipc.Commands, service ipc.Service, socket string) (*Process, error) {
	theirs, err := ipc.Hand(ctx, socket, os.Getuid())
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", service.Program, err)
	}
	defer theirs.Close() // only the process listens: when it has ended, nobody waits for it
	service.Files = []*os.File{theirs}
	running, err := service.Start(commands)
	if err != nil {
		return nil, err
	}
	return &Process{running: running, asked: ipc.Dial(socket, nil)}, nil
}

// Open has the drivers loaded and waits for the devices. It returns what they
// are, for people, or which of them is in no mode in which it could be trusted.
func (p *Process) Open(ctx context.Context) (summary string, err error) {
	return ask[Nothing, string](ctx, p, Open, Nothing{})
}

// Evidence returns what all devices show over a nonce.
func (p *Process) Evidence(ctx context.Context, nonce vm.Hash) (*vm.GPUEvidence, error) {
	ev, err := ask[vm.Hash, *vm.GPUEvidence](ctx, p, Evidence, nonce)
	if err == nil && (ev == nil || string(ev.Nonce) != string(nonce[:])) {
		err = errors.New("ask the GPUs for evidence: the answer is to another question")
	}
	return ev, err
}

// Ready lets the devices take work. The process refuses unless it has shown
// evidence before.
func (p *Process) Ready(ctx context.Context) error {
	_, err := ask[Nothing, Nothing](ctx, p, Ready, Nothing{})
	return err
}

// Kill ends the process, and with it all work on the devices.
func (p *Process) Kill() { p.running.Kill() }

// ask puts one question. An error of the process is its own; every other one says
// what nobody answered.
func ask[Q, A any](ctx context.Context, p *Process, question string, q Q) (A, error) {
	a, err := ipc.Ask[Q, A](ctx, p.asked, question, q)
	var answered *ipc.Answered
	if err == nil || errors.As(err, &answered) {
		return a, err
	}
	select {
	case <-p.running.Done():
		err = errors.New("the process has ended")
	default:
	}
	return a, fmt.Errorf("ask the GPUs for %s: %w", question, err)
}
