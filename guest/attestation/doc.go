// Package attestation is what guestd and its attestation service tell each
// other, and guestd's side of it. The service (package attestd) speaks with
// strangers, in a process that holds no device, no disk and no key but its own.
// guestd makes that key, hands it down at each start, and answers a few
// questions: quotes above all, of which the service says what they are for, and
// never what they say.
//
// So a service that was taken over can show whom it likes what it likes, about
// this machine and under the key that quotes name as the attestation service's.
// It gets no quote that the key manager, a verifier of the workload's own data or
// one of its log would take for something else.
package attestation

import (
	"encoding/json"
	"time"

	"github.com/secretvm/secretvm/guest/clock"
	"github.com/secretvm/secretvm/guest/ipc"
	"github.com/secretvm/secretvm/guest/workload/order"
	"github.com/secretvm/secretvm/step"
	"github.com/secretvm/secretvm/vm"
)

// Names of the service and of its questions to guestd.
const (
	Part = "attestation"

	AskQuote    = "quote"    // Question: Answer
	AskStatus   = "status"   // nothing: Status
	AskServices = "services" // nothing: names of the containers
	AskLogs     = "logs"     // LogQuery: Log
	AskReady    = "ready"    // nothing: nothing; the service answers strangers now
)

// Settings is what the service is started with, each time the same.
type Settings struct {
	Socket      string     // on which it asks guestd
	Key         ipc.Secret // PKCS #8, DER
	TEE         vm.TEE
	Measurement vm.Measurement // the registers after boot-complete
	Config      []byte         // canonical vm.Config, as measured
	Compose     []byte         // the compose file, as measured
	Events      []vm.Event     // runtime events, as extended
	Booted      time.Duration  // when the machine started, on the kernel's monotonic clock
}

// Status is what the machine says about itself.
type Status struct {
	Steps    []step.Result // of the boot, those that ended; remarks and errors only go to who may read logs
	Running  string        // the step that runs; empty: the boot is over
	Ran      time.Duration // since when
	Waiting  string        // what it waits for; empty: nothing
	Workload string        // "starting", "running", "degraded", "stopped"

	Containers []Container // for those who may read services

	TLS        *Certificates     // public certificates; nil: none are wanted
	Chain      [][]byte          // that of the service's own key (DER, leaf first); nil: none yet
	Clock      *clock.Status     // nil: nobody says
	Keys       map[string][]byte // PEM of the keys that sign messages, by kind
	Goroutines int               // of guestd
}

// Container is what became of a container of the workload, and Line a line of a log,
// as what runs the workload says it.
type (
	Container = order.Container
	Line      = order.Line
)

// Certificates is what the machine says about its public certificates.
type Certificates struct {
	Names        []string      `json:"names"`
	CA           string        `json:"ca"`                // URL of the directory
	Account      string        `json:"account,omitempty"` // the machine's, once the authority has answered
	CAA          []string      `json:"caa,omitempty"`     // records that keep others from getting certificates for the names
	Certificates []Certificate `json:"certificates"`
}

// Certificate is one in use.
type Certificate struct {
	Of       string    `json:"of"`                 // "workload" or "attestation"
	Public   bool      `json:"public"`             // it is the authority's, not signed by its own key
	Key      vm.Hash   `json:"key,omitzero"`       // SHA-256 of its SubjectPublicKeyInfo (DER); of attestation only while public
	Issuer   string    `json:"issuer,omitempty"`   // common name
	NotAfter time.Time `json:"not_after,omitzero"` // when it lapses
	Error    string    `json:"error,omitempty"`    // why there is no other; names of people and hosts may stand in it
}

// LogQuery says which lines of which log are wanted.
type LogQuery struct {
	Service string    // "secretvm" (the system's own), a container's name, or "": all
	Lines   int       // the last ones
	Since   time.Time // that were written after it
}

// Log is a part of a log, in the order of time.
type Log struct {
	Lines []Line
	More  bool // there are later ones already: ask on from the last
}

// MaxLog is where a Log ends between two moments, in bytes, so that it fits into
// a message; of one moment it has twice as much at most.
const MaxLog = 1 << 20

// Encode is for the types of this package, which always encode.
func Encode(v any) []byte {
	b, _ := json.Marshal(v)
	return b
}
