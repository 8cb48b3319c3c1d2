package attestation

import (
	"context"
	"crypto/rand"
	"reflect"
	"time"

	"github.com/secretvm/secretvm/vm"
)

// What the service needs quotes for.
const (
	ForStrangers   = "attestation" // who ask with a nonce: Question.Nonce, and Exporter if they want
	ForCertificate = "certificate" // of the service's key (RA-TLS)
	ForKey         = "cpu"         // the key, as existing verifiers look for it
	ForSigning     = "signing"     // the workload's key of Question.Kind that signs messages
	ForApplication = "application" // what containers logged, with Question.Nonce
)

// Question asks for a quote by what it is for. What the quote says is computed
// here, from labels, the service's key and what else is in the machine.
type Question struct {
	For      string
	Nonce    []byte `json:",omitempty"`
	Exporter []byte `json:",omitempty"`
	Kind     string `json:",omitempty"`
	Have     uint64 `json:",omitempty"` // Answer.Serial of the collateral that the service has
}

// Answer is the evidence, without the machine's runtime events.
type Answer struct {
	Evidence vm.Evidence
	Took     time.Duration // what the device needed
	Serial   uint64        // of the device's collateral, which is left out where the service has it; 0: there is none
	Register vm.Register   // of ForApplication: what Events fold into
	Events   []vm.Event    // the application's log
}

// Quoter asks the machine's TEE for a quote over reportData.
type Quoter interface {
	Quote(ctx context.Context, reportData [64]byte) (vm.Evidence, error)
}

// Signing is what the containers' API has to show (package api).
type Signing interface {
	// PublicKey returns the PEM of the key of a kind that signs messages, and what
	// the quote about it says; nil: there is none.
	PublicKey(kind string) (pem []byte, reportData [64]byte)
	// Application returns the application's register, and the log behind it.
	Application() (vm.Register, []vm.Event)
}

// Quotes answers the service's questions for quotes, one at a time: whatever the
// service does, others of the machine wait for one quote at most.
type Quotes struct {
	device   Quoter
	cpu      Quoter // of ForKey
	gpuNonce vm.Hash
	key      vm.Hash
	claims   []byte
	signing  Signing
	turn     chan struct{} // holds one token while a quote is made

	collateral *vm.Collateral // the last one
	serial     uint64         // how many there were
}

// NewQuotes makes it for a device, the service's key, and the claims about it in
// its certificate. Of a machine with GPUs, gpus gives evidence whose report data
// has their nonce in the second half; nil: there are none. signing is nil where
// containers are granted nothing.
func NewQuotes(device, gpus Quoter, key vm.Hash, claims []byte, signing Signing) *Quotes {
	q := &Quotes{device: device, cpu: device, key: key, claims: claims, signing: signing, turn: make(chan struct{}, 1)}
	if gpus != nil {
		q.cpu = gpus
		_, _ = rand.Read(q.gpuNonce[:]) // never fails
	}
	return q
}

// Claims are what the certificate of a key says beside its evidence: the key, and
// the events that explain the machine's registers, where they do.
func Claims(key vm.Hash, tee vm.TEE, events []vm.Event) []byte {
	if tee == vm.SNP { // whose report they do not explain
		return vm.CertificateClaims(key, nil)
	}
	return vm.CertificateClaims(key, Encode(events))
}

// Quote answers one question.
func (q *Quotes) Quote(ctx context.Context, w Question) (a Answer, err error) {
	device, reportData := q.device, [64]byte{}
	fresh := w.For == ForStrangers || w.For == ForApplication
	if n := len(w.Nonce); fresh && n < vm.MinNonceSize || n > vm.MaxNonceSize {
		return a, vm.Refuse(vm.CodeInvalid, "a nonce of %d bytes", n)
	}
	switch w.For {
	case ForStrangers:
		if n := len(w.Exporter); n != 0 && n != vm.ExporterSize {
			return a, vm.Refuse(vm.CodeInvalid, "a connection exports %d bytes", n)
		}
		reportData = vm.ExporterReportData(q.key, w.Nonce, w.Exporter)
	case ForCertificate:
		reportData = vm.ClaimsReportData(q.claims)
	case ForKey:
		device = q.cpu
		copy(reportData[:], q.key[:])
		copy(reportData[32:], q.gpuNonce[:])
	case ForSigning:
		var pem []byte
		if q.signing != nil {
			pem, reportData = q.signing.PublicKey(w.Kind)
		}
		if pem == nil {
			return a, vm.Refuse(vm.CodeUnavailable, "there is no such key")
		}
	case ForApplication:
		if q.signing == nil {
			return a, vm.Refuse(vm.CodeUnavailable, "there is no such log")
		}
		a.Register, a.Events = q.signing.Application()
		reportData = vm.ApplicationReportData(a.Register, w.Nonce)
	default:
		return a, vm.Refuse(vm.CodeInvalid, "there are no quotes for %.40q", w.For)
	}
	select {
	case q.turn <- struct{}{}:
		defer func() { <-q.turn }()
	case <-ctx.Done():
		return a, ctx.Err()
	}
	start := time.Now()
	a.Evidence, err = device.Quote(ctx, reportData)
	a.Took = time.Since(start)
	// It is the largest part by far, and the same for days.
	if c := a.Evidence.Collateral; c != nil {
		if !reflect.DeepEqual(c, q.collateral) {
			q.collateral, q.serial = c, q.serial+1
		}
		if a.Serial = q.serial; w.Have == a.Serial {
			a.Evidence.Collateral = nil
		}
	}
	return a, err
}
