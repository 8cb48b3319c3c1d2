package proof

import (
	"context"
	"slices"
	"sync"

	"github.com/secretvm/secretvm/vm"
)

// pageEvents is how many events fit into a message, of the largest.
const pageEvents = 1000

// log is the application's log of this boot.
type log struct {
	mu       sync.Mutex
	register vm.Register
	events   []vm.Event
	by       map[string]int // events of a service
}

// head is what the log has come to.
func (l *log) head() (vm.Register, int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.register, len(l.events)
}

// Application returns the application's register and log.
func (d *Desk) Application() (vm.Register, []vm.Event) {
	d.log.mu.Lock()
	defer d.log.mu.Unlock()
	return d.log.register, slices.Clone(d.log.events)
}

// Log answers a page of it.
func (d *Desk) Log(_ context.Context, from From) (Log, error) {
	d.log.mu.Lock()
	defer d.log.mu.Unlock()
	all := d.log.events
	n := min(max(0, from.N), len(all))
	return Log{d.log.register, slices.Clone(all[n:min(n+pageEvents, len(all))]), len(all)}, nil
}

var eventName = vm.Pattern(`^[a-zA-Z0-9._:-]{1,64}$`)

// Add adds to the log, for a service that is granted that. It refuses what would
// make the log too long: it never forgets.
func (d *Desk) Add(_ context.Context, e Event) (Logged, error) {
	l := &d.log
	switch {
	case !d.config.API.Allows(e.Service, vm.GrantEvent):
		return Logged{}, vm.Refuse(vm.CodePermission, "service %.80q is not granted %s", e.Service, vm.GrantEvent)
	case !eventName(e.Name) || len(e.Payload) > vm.MaxEventPayload:
		return Logged{}, vm.Refuse(vm.CodeInvalid, "want a name of 1 to %d letters, digits and ._:- and a payload of at most %d bytes", vm.MaxEventName, vm.MaxEventPayload)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.by[e.Service] == vm.MaxServiceEvents {
		return Logged{}, vm.Refuse(vm.CodeTooLarge, "service %s has added %d events in this boot, which is the most", e.Service, vm.MaxServiceEvents).
			Try("log milestones here, and the digest of what else happens")
	}
	if l.by == nil {
		l.by = map[string]int{}
	}
	added := vm.ApplicationEvent(e.Service, e.Name, e.Payload)
	l.events, l.register = append(l.events, added), l.register.Extend(added.Digest)
	l.by[e.Service]++
	return Logged{l.register, len(l.events)}, nil
}
