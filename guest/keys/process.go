package keys

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/secretvm/secretvm/guest/ipc"
)

// endPatience is how long a process that does not answer may take to end.
const endPatience = 2 * time.Second

// process is one that runs.
type process struct {
	running *ipc.Running
	client  *ipc.Client
}

// start starts a process that answers on a socket which nobody else can open.
func (a *Asker) start(ctx context.Context) (*process, error) {
	path := filepath.Join(a.Folder, Part+".sock")
	socket, err := ipc.Hand(ctx, path, os.Getuid())
	if err != nil {
		return nil, fmt.Errorf("start the process that asks the key manager: %w", err)
	}
	defer socket.Close() // the process has its own: a question to one that ended fails
	service := ipc.Service{Program: a.Program, Part: Part, User: a.User, Files: []*os.File{socket}, Settings: a.Settings, Spared: true}
	running, err := service.Start(a.Commands)
	if err != nil {
		return nil, fmt.Errorf("the process that asks the key manager: %w", err)
	}
	return &process{running, ipc.Dial(path, nil)}, nil
}

// gone says that a process did not answer: nothing is known of what it did.
type gone struct{ how error }

func (g *gone) Error() string { return "the process that asks the key manager ended: " + g.how.Error() }

// ask asks until the answer is the last one, makes quotes and tells what is
// waited for on the way. After an error that is not the process's own it is not
// asked again: its next answer would be to this question.
func ask[Q any](ctx context.Context, a *Asker, p *process, question string, q Q) (Answer, error) {
	limited, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-p.running.Done():
			cancel()
		case <-limited.Done():
		}
	}()
	answer, err := ipc.Ask[Q, Answer](limited, p.client, question, q)
	for err == nil && (answer.Waiting != nil || answer.Quote != nil) {
		var quoted Quoted
		if answer.Waiting != nil {
			a.Waiting(Waiting{Text: bounded(answer.Waiting.Text), Said: answer.Waiting.Said})
		} else if quoted, err = a.Quotes.quote(ctx, *answer.Quote); err != nil {
			return Answer{}, fmt.Errorf("request keys: make a quote: %w", err)
		}
		answer, err = ipc.Ask[Quoted, Answer](limited, p.client, AskOn, quoted)
		clear(quoted.Key)
	}
	var answered *ipc.Answered
	switch {
	case err == nil || errors.As(err, &answered):
		return answer, err
	case ctx.Err() != nil:
		return Answer{}, ctx.Err()
	}
	return Answer{}, &gone{p.end(err)}
}

// end ends the process and returns how it ended by itself, or why it is ended.
func (p *process) end(why error) error {
	defer p.client.Close()
	select {
	case <-p.running.Done():
		why = nil
	case <-time.After(100 * time.Millisecond): // an end is told a moment later than the socket's
		p.running.Kill()
	}
	ctx, cancel := context.WithTimeout(context.Background(), endPatience)
	defer cancel()
	if ended := p.running.Wait(ctx); why == nil {
		return ended
	}
	return why
}
