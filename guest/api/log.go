package api

import (
	"regexp"
	"slices"
	"sync"

	"github.com/secretvm/secretvm/guestapi"
	"github.com/secretvm/secretvm/vm"
)

// log is the application's log of this boot.
type log struct {
	mu       sync.Mutex
	register vm.Register
	events   []vm.Event
	by       map[string]int // events of a service
}

func (l *log) read() (vm.Register, []vm.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.register, slices.Clone(l.events)
}

// add refuses what would make the log too long: it never forgets.
func (l *log) add(service, name string, payload []byte) (guestapi.Logged, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.by[service] == vm.MaxServiceEvents {
		return guestapi.Logged{}, vm.Refuse(vm.CodeTooLarge, "service %s has added %d events in this boot, which is the most", service, vm.MaxServiceEvents).
			Try("log milestones here, and the digest of what else happens")
	}
	if l.by == nil {
		l.by = map[string]int{}
	}
	e := vm.ApplicationEvent(service, name, payload)
	l.events, l.register = append(l.events, e), l.register.Extend(e.Digest)
	l.by[service]++
	return guestapi.Logged{ApplicationRegister: l.register, Events: len(l.events)}, nil
}

// Application returns the application's register and log.
func (s *Server) Application() (vm.Register, []vm.Event) { return s.log.read() }

var eventName = regexp.MustCompile(`^[a-zA-Z0-9._:-]{1,64}$`)

func (s *Server) answerEvent(r request) (any, error) {
	if err := s.need(r, vm.GrantEvent); err != nil {
		return nil, err
	}
	var e guestapi.Event
	if err := readJSON(r, &e); err != nil {
		return nil, err
	}
	if !eventName.MatchString(e.Name) || len(e.Payload) > vm.MaxEventPayload {
		return nil, vm.Refuse(vm.CodeInvalid, "want a name of 1 to %d letters, digits and ._:- and a payload of at most %d bytes", vm.MaxEventName, vm.MaxEventPayload)
	}
	return s.log.add(r.service, e.Name, e.Payload)
}
