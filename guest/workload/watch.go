package workload

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/secretvm/secretvm/guest/workload/order"
)

// lookEvery is how often Watch looks at the containers on its own, should an
// event be missed.
const lookEvery = 30 * time.Second

// Watch follows the project until ctx ends: it says which containers end or
// become unhealthy, tells the state of the workload, and brings the project up again after dockerd
// had to be restarted, and at first if it is not up.
func (p *Project) Watch(ctx context.Context, state func(word string), up bool) {
	changed := make(chan struct{}, 1)
	changed <- struct{}{} // look at once
	go p.follow(ctx, changed)
	if !up {
		state(order.Degraded)
		p.again(ctx)
	}
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.engine.Restarted():
			state(order.Degraded)
			p.again(ctx)
		case <-changed:
		case <-ticker.C:
		}
		list, err := p.look(ctx)
		if err != nil {
			continue // dockerd is being restarted
		}
		if _, worst := summary(list); worst == failed {
			state(order.Degraded)
		} else {
			state(order.Running)
		}
	}
}

// again brings the project up until that works, or a container has failed, which
// another attempt would only run once more.
func (p *Project) again(ctx context.Context) {
	for wait := time.Second; ctx.Err() == nil; wait = min(2*wait, time.Minute) {
		err := p.engine.Ready(ctx)
		if err == nil {
			var text string
			if text, err = p.Up(ctx); err == nil {
				p.note("the workload is up again: " + text)
				return
			}
			var ill *Ailing
			if errors.As(err, &ill) {
				p.note(err.Error())
				return
			}
		}
		p.note(fmt.Sprintf("bring the workload up again: %v", err))
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// follow reports events until ctx ends, across restarts of dockerd.
func (p *Project) follow(ctx context.Context, changed chan<- struct{}) {
	for ctx.Err() == nil {
		_ = p.engine.docker.events(ctx, p.Name, func(ev event) {
			if text := ev.describe(); text != "" {
				p.note(text)
			}
			select {
			case changed <- struct{}{}:
			default:
			}
		})
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// describe says what a person should know of an event, or nothing.
func (ev event) describe() string {
	who := ev.Actor.Attributes[serviceLabel]
	switch {
	case ev.Action == "die":
		return fmt.Sprintf("container of %s ended with status %s", who, ev.Actor.Attributes["exitCode"])
	case ev.Action == "oom":
		return fmt.Sprintf("container of %s ran out of memory", who)
	case strings.HasPrefix(ev.Action, "health_status"):
		return fmt.Sprintf("container of %s: %s", who, strings.ReplaceAll(ev.Action, "_", " "))
	default:
		return ""
	}
}
