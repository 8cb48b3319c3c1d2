// Package ipc is how the machine's own processes ask each other. guestd, which
// holds device, disk and the order of the boot, starts services: processes of
// their own for what speaks with strangers, with containers and with the key
// manager, most of them without rights. Whoever answers listens on a socket of
// the file system that one user may open; questions and answers are JSON in
// HTTP requests, one question each, bounded in size and in time by who asks.
//
// What is asked between two of them is in the packages of the services. This
// one knows no question.
package ipc

import (
	"errors"

	"github.com/secretvm/secretvm/vm"
)

// Folder is where guestd asks, which nobody else may look into; Desk is where it
// is asked, by services that open the socket of their user. Program is what
// services are parts of.
const (
	Folder  = "/run/secretvm"
	Desk    = "/run/services"
	Program = "/usr/lib/secretvm/guest-service"
)

// Users of the services without rights. Each has its own, so that none can
// read another's memory or open a socket that is not for it.
const (
	UserKeys         = 61001
	UserAttestation  = 61002
	UserAPI          = 61003
	UserCertificates = 61004
	UserDHCP         = 61005
)

// MaxMessage bounds a question and an answer, in bytes: the largest config,
// compose file and files archive of a workload are handed over by files.
const MaxMessage = 4 << 20

// Errors names errors that have to be the same on both sides. A *vm.Refusal is
// always handed over whole; of all others only the text is.
type Errors map[string]error

// failure is an error on its way.
type failure struct {
	Text    string      `json:"text"`
	Name    string      `json:"name,omitempty"` // in Errors
	Refusal *vm.Refusal `json:"refusal,omitempty"`
}

func (known Errors) encode(err error) failure {
	f := failure{Text: err.Error()}
	errors.As(err, &f.Refusal)
	for name, e := range known {
		if errors.Is(err, e) {
			f.Name = name
		}
	}
	return f
}

func (known Errors) decode(f failure) error {
	a := &Answered{Text: f.Text}
	if f.Refusal != nil {
		a.causes = append(a.causes, f.Refusal)
	}
	if e, ok := known[f.Name]; ok {
		a.causes = append(a.causes, e)
	}
	return a
}

// Answered is an error that the other process answered with: its text, and what
// of its causes both sides know. Any other error of a question says that the
// process did not answer.
type Answered struct {
	Text   string
	causes []error
}

func (a *Answered) Error() string { return a.Text }

// Unwrap returns the refusal and the named error in it, if any.
func (a *Answered) Unwrap() []error { return a.causes }
