package gpu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"

	"github.com/secretvm/secretvm/vm"
)

// Commands starts and waits for commands: see guest/process.
type Commands interface {
	Start(cmd *exec.Cmd) error
	Wait(cmd *exec.Cmd) error
}

// Process is the running process. It answers one question at a time.
type Process struct {
	cmd   *exec.Cmd
	asked *json.Encoder
	heard *json.Decoder

	mu   sync.Mutex
	lost error // why it cannot be asked any more
}

// Start starts the program with its arguments. What it says on standard error
// goes to this process's.
func Start(commands Commands, program string, args ...string) (*Process, error) {
	cmd := exec.Command(program, args...)
	cmd.Env, cmd.Stderr = []string{}, os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	// A pipe of our own: that of a command is closed, read or not, when it ends.
	out, theirs, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	cmd.Stdout = theirs
	err = commands.Start(cmd)
	theirs.Close()
	if err != nil {
		out.Close()
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	go func() { _ = commands.Wait(cmd) }() // who asks next learns that it has ended
	return &Process{cmd: cmd, asked: json.NewEncoder(in), heard: json.NewDecoder(out)}, nil
}

// Open has the drivers loaded and waits for the devices. It returns what they
// are, for people, or which of them is in no mode in which it could be trusted.
func (p *Process) Open(ctx context.Context) (summary string, err error) {
	a, err := p.ask(ctx, Request{Op: OpOpen})
	return a.Summary, err
}

// Evidence returns what all devices show over a nonce.
func (p *Process) Evidence(ctx context.Context, nonce vm.Hash) (*vm.GPUEvidence, error) {
	a, err := p.ask(ctx, Request{Op: OpEvidence, Nonce: &nonce})
	if err == nil && (a.Evidence == nil || string(a.Evidence.Nonce) != string(nonce[:])) {
		err = errors.New("ask the GPUs for evidence: the answer is to another question")
	}
	return a.Evidence, err
}

// Ready lets the devices take work. The process refuses unless it has shown
// evidence before.
func (p *Process) Ready(ctx context.Context) error {
	_, err := p.ask(ctx, Request{Op: OpReady})
	return err
}

// Kill ends the process, and with it all work on the devices.
func (p *Process) Kill() { _ = p.cmd.Process.Kill() }

// ask sends one question and reads its answer. A question that nobody waits for
// any longer ends the process: its answer would pass for that of the next one.
func (p *Process) ask(ctx context.Context, q Request) (a Answer, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lost != nil {
		return a, fmt.Errorf("ask the GPUs for %s: %w", q.Op, p.lost)
	}
	if err := ctx.Err(); err != nil {
		return a, fmt.Errorf("ask the GPUs for %s: %w", q.Op, err)
	}
	kept := context.AfterFunc(ctx, p.Kill)
	err = errors.Join(p.asked.Encode(q), p.heard.Decode(&a))
	if !kept() || err != nil {
		p.Kill()
		if errors.Is(err, io.EOF) {
			err = errors.New("the process has ended")
		}
		p.lost = errors.Join(ctx.Err(), err)
		return a, fmt.Errorf("ask the GPUs for %s: %w", q.Op, p.lost)
	}
	if a.Error != "" {
		return a, errors.New(a.Error)
	}
	return a, nil
}
