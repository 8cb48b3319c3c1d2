package order

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/secretvm/secretvm/guest/ipc"
)

// Process is the process that runs the workload, as guestd has it. It can be
// started again after it ended.
type Process struct {
	Commands ipc.Commands
	Note     func(string) // tells a person what the process says
	Program  string       // empty: ipc.Program
	Socket   string       // empty: Socket

	mu      sync.Mutex
	running *ipc.Running // nil: never started
	client  *ipc.Client
	news    News
	over    bool // the machine stops
}

// Start starts the process, and follows what it says until it ends.
func (p *Process) Start(ctx context.Context) error {
	path := p.Socket
	if path == "" {
		path = Socket
	}
	socket, err := ipc.Hand(ctx, path, 0)
	if err != nil {
		return fmt.Errorf("start what runs the workload: %w", err)
	}
	defer socket.Close()
	running, err := ipc.Service{Program: p.Program, Part: Part, Files: []*os.File{socket}}.Start(p.Commands)
	if err != nil {
		return err
	}
	client := ipc.Dial(path, nil)
	p.mu.Lock()
	p.running, p.client, p.news.Version = running, client, 0
	p.mu.Unlock()
	following, cancel := context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		<-running.Done()
		cancel()
		client.Close()
		p.lost(running)
	}()
	go func() {
		for following.Err() == nil {
			if p.hear(following, running, client, true) != nil {
				time.Sleep(100 * time.Millisecond)
			}
		}
	}()
	return nil
}

// hear asks for news and passes them on, each once.
func (p *Process) hear(ctx context.Context, running *ipc.Running, client *ipc.Client, wait bool) error {
	p.mu.Lock()
	seen := Seen{p.news.Version, wait}
	p.mu.Unlock()
	news, err := ipc.Ask[Seen, News](ctx, client, Tell, seen)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running != running || news.Version <= p.news.Version {
		return nil
	}
	for _, n := range news.Notes {
		if n.Version > p.news.Version {
			p.Note(n.Text)
		}
	}
	if news.Workload == "" { // it has just been started, perhaps again
		news.Workload = p.news.Workload
	}
	p.news = news
	return nil
}

// lost takes down what the process has said last: nobody knows better.
func (p *Process) lost(running *ipc.Running) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running == running {
		p.news = News{Workload: Degraded}
	}
}

// Started reports whether the process was ever started.
func (p *Process) Started() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.running != nil
}

// State returns the word for the workload, and what was last seen of its
// containers, sorted by name.
func (p *Process) State() (word string, containers []Container) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.over:
		word = Stopped
	case p.news.Workload == "":
		word = Starting
	default:
		word = p.news.Workload
	}
	return word, p.news.Containers
}

// Over has State say that the workload is stopped.
func (p *Process) Over() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
}

// Wait returns how the process ended, or nil when ctx ends.
func (p *Process) Wait(ctx context.Context) error {
	p.mu.Lock()
	running := p.running
	p.mu.Unlock()
	err := running.Wait(ctx)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// Kill ends the process.
func (p *Process) Kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running.Kill()
}

// Ask puts a question. What the process has said before it answered is passed on
// first.
func Ask[Q, A any](ctx context.Context, p *Process, question string, q Q) (a A, err error) {
	p.mu.Lock()
	running, client := p.running, p.client
	p.mu.Unlock()
	if running == nil {
		return a, errors.New("nothing runs the workload yet")
	}
	a, err = ipc.Ask[Q, A](ctx, client, question, q)
	var answered *ipc.Answered
	if err == nil || errors.As(err, &answered) {
		_ = p.hear(ctx, running, client, false) // else with the next news
		return a, err
	}
	if ctx.Err() != nil {
		return a, err
	}
	select { // it has most likely ended, which says more
	case <-running.Done():
		return a, fmt.Errorf("what runs the workload has ended: %w", running.Wait(ctx))
	case <-time.After(time.Second):
		return a, err
	}
}
