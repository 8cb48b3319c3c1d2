package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// Pauses between tries, and how often a try may be repeated at once.
const (
	minPause   = 500 * time.Millisecond
	maxPause   = 30 * time.Second
	maxRetakes = 3
)

// Outage is the error of a try that came to no decision: asking again may help.
// What was decided, and what cannot be right, are other errors.
type Outage struct {
	Answering int    // nodes that answered as nodes of this key manager
	Nodes     int    // nodes that were asked
	Needed    int    // nodes without which there are no keys; 0: not known
	But       string // what is the matter although enough answer: our words, never a node's
	Err       error  // what the nodes said, for the log; it wraps a *vm.Refusal
	retake    bool   // something has been learnt by which the next try differs
}

// Error is Text, and what the nodes said.
func (o *Outage) Error() string {
	if o.Err == nil {
		return o.Text()
	}
	return o.Text() + ": " + o.Err.Error()
}

// Text says in one line what is waited for. It holds nothing that a node or a
// host could have written.
func (o *Outage) Text() string {
	text := fmt.Sprintf("%d of %d nodes answer", o.Answering, o.Nodes)
	if o.Answering == 1 {
		text = fmt.Sprintf("1 of %d nodes answers", o.Nodes)
	}
	switch {
	case o.Needed > o.Nodes:
		return fmt.Sprintf("%s, %d needed: the host names too few", text, o.Needed)
	case o.Needed > o.Answering:
		return fmt.Sprintf("%s, %d needed", text, o.Needed)
	case o.But != "":
		return text + ", but " + o.But
	}
	return text
}

func (o *Outage) Unwrap() error { return o.Err }

// Wait is what a machine waits for, and how long until it asks again.
type Wait struct {
	Outage *Outage
	Next   time.Duration
}

// String is Text and the time of the next try, for the machine's owner.
func (w Wait) String() string {
	return fmt.Sprintf("%s; next try in %s", w.Outage.Text(), max(w.Next.Round(time.Second), time.Second))
}

// Persist runs try until it succeeds, fails for another reason than an Outage,
// or ctx ends; then the error is the last one. Pauses grow from half a second to
// half a minute, and are drawn at random so that machines that lost the same key
// manager do not come back all at once. Before each pause it tells waiting,
// unless that is nil, what it waits for.
func Persist(ctx context.Context, waiting func(Wait), try func(context.Context) error) error {
	pause, retakes := minPause, 0
	for {
		err := try(ctx)
		var outage *Outage
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("%w (%w)", err, ctx.Err())
		case !errors.As(err, &outage):
			return err
		}
		if outage.retake && retakes < maxRetakes {
			retakes++
			continue
		}
		retakes = 0
		next := pause/2 + rand.N(pause/2)
		if waiting != nil {
			waiting(Wait{outage, next})
		}
		select {
		case <-time.After(next):
		case <-ctx.Done():
			return fmt.Errorf("%w (%w)", err, ctx.Err())
		}
		pause = min(2*pause, maxPause)
	}
}
