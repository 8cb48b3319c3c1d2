// Package proof is what guestd does for the process that answers containers
// (package api), and what the two say to each other. That process has the keys that
// the measured config grants to containers, and no device: it gets quotes by what
// they are for, never over bytes of its choice. The application's log is here too,
// so that neither a container that takes the process over nor the process's end
// takes anything back that was logged.
package proof

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/secretvm/secretvm/guest/ipc"
	"github.com/secretvm/secretvm/guest/pace"
	"github.com/secretvm/secretvm/vm"
)

// Part is the part of guest-service that answers containers.
const Part = "api"

// The questions. guestd answers all but the last, which it asks once, before any
// container runs.
const (
	AskQuote = "quote" // Question: Answer
	AskEvent = "event" // Event: Logged
	AskLog   = "log"   // From: Log

	AskPublic = "public" // nothing: []Public, the keys that sign messages
)

// What a quote can be for.
const (
	ForWorkload    = "workload"    // about Data of a container's choice
	ForApplication = "application" // about the application's log, and Data
	ForSigning     = "signing"     // about the key of Kind that signs messages
)

// Errors are the same in both processes.
var Errors = ipc.Errors{"busy": pace.ErrBusy}

// Settings is what the process is started with, each time the same. Its files are
// the socket on which guestd asks it, and one socket for each of Services.
type Settings struct {
	Socket   string // on which it asks guestd
	TEE      vm.TEE
	Config   []byte // canonical vm.Config, as measured
	Events   []vm.Event
	Keys     []Key
	Services []string
}

// Key is one that the key manager released for what is granted to containers.
type Key struct {
	Name   string // as vm.API.KeyNames has it
	Epoch  uint64
	Secret ipc.Secret
}

// Question asks for a quote by what it is for.
type Question struct {
	For  string
	Data []byte `json:",omitempty"` // at most vm.MaxWorkloadData
	Kind string `json:",omitempty"`
}

// Answer is the evidence, without the machine's runtime events.
type Answer struct {
	Evidence vm.Evidence
	Register vm.Register // of ForApplication: what so many Events of the log fold into
	Events   int
}

// Event is what a service adds to the application's log.
type Event struct {
	Service string
	Name    string
	Payload []byte
}

// Logged is the log after an event.
type Logged struct {
	Register vm.Register
	Events   int
}

// From asks for the log from its nth event on, from 0.
type From struct{ N int }

// Log is as much of it as fits into a message.
type Log struct {
	Register vm.Register
	Events   []vm.Event
	All      int // so many there are
}

// Public is a key that signs messages.
type Public struct {
	Kind string
	Raw  []byte // as vm.SigningReportData takes it
	PEM  []byte
}

// maxWaiting is how many quotes containers may wait for together.
const maxWaiting = 8 * vm.MaxAPIServices

// Desk is guestd's side of one boot.
type Desk struct {
	config vm.Config
	quotes *pace.Gate
	log    log
	public atomic.Pointer[map[string]Public] // by kind; nil: not shown yet
}

// New makes a desk that has quotes from q: one at a time, after which the device
// rests for as long.
func New(q pace.Quoter, config vm.Config) *Desk {
	d := &Desk{config: config, quotes: pace.NewGate(q, maxWaiting, nil)}
	d.quotes.Strict = true
	return d
}

// Server answers the process.
func (d *Desk) Server() *ipc.Server {
	s := ipc.NewServer(Errors)
	ipc.Handle(s, AskQuote, d.Quote)
	ipc.Handle(s, AskEvent, d.Add)
	ipc.Handle(s, AskLog, d.Log)
	return s
}

// sizes of the raw keys that sign messages. All that is quoted otherwise has no
// zeros behind so many bytes, or is about a key of guestd's own.
var sizes = map[string]int{vm.SignEd25519: 32, vm.SignSecp256k1: 33}

// Show takes over the keys that sign messages. Call it once, before any container
// runs: from then on nothing can have the machine quote another.
func (d *Desk) Show(keys []Public) error {
	public := map[string]Public{}
	for _, k := range keys {
		if size, known := sizes[k.Kind]; !known || len(k.Raw) != size {
			return fmt.Errorf("show the keys that sign messages: one of kind %.20q has %d bytes", k.Kind, len(k.Raw))
		}
		public[k.Kind] = k
	}
	d.public.Store(&public)
	return nil
}

// PublicKey returns the PEM of the key of a kind that signs messages, and what
// the quote about it says; nil: there is none.
func (d *Desk) PublicKey(kind string) (pem []byte, reportData [64]byte) {
	if public := d.public.Load(); public != nil {
		if k, ok := (*public)[kind]; ok {
			return k.PEM, vm.SigningReportData(k.Raw)
		}
	}
	return nil, reportData
}

// Quote makes a quote about what is asked, and nothing else.
func (d *Desk) Quote(ctx context.Context, q Question) (a Answer, err error) {
	if len(q.Data) > vm.MaxWorkloadData {
		return a, vm.Refuse(vm.CodeInvalid, "a quote is about at most %d bytes", vm.MaxWorkloadData)
	}
	var say [64]byte
	switch q.For {
	case ForWorkload:
		say = vm.WorkloadReportData(q.Data)
	case ForApplication:
		a.Register, a.Events = d.log.head()
		say = vm.ApplicationReportData(a.Register, q.Data)
	case ForSigning:
		var pem []byte
		if pem, say = d.PublicKey(q.Kind); pem == nil {
			return a, vm.Refuse(vm.CodeInvalid, "there is no such key")
		}
	default:
		return a, vm.Refuse(vm.CodeInvalid, "no quote is for that")
	}
	a.Evidence, err = d.quotes.Quote(ctx, say)
	return a, err
}
