// Package guestapi is how a container asks the machine that it runs in: for
// quotes about its own data, keys, signatures, and what the machine is. The
// machine answers HTTP on a unix socket, which containers have whose service the
// measured config grants something (x-secretvm.api of the compose file);
// docs/guest-api.md shows the same with curl.
//
// The answers are believed: whoever could forge them runs the container.
package guestapi

import "github.com/secretvm/secretvm/vm"

// Socket is where a container finds the API.
const Socket = "/run/secretvm.sock"

// Paths of the API.
const (
	PathInfo      = "/info"
	PathQuote     = "/quote"
	PathKey       = "/key"
	PathPublicKey = "/publickey"
	PathSign      = "/sign"
	PathEvent     = "/event"
)

// Words that parameters take.
const (
	AboutApplication = "application" // of about, in PathQuote
	ScopeInstance    = "instance"    // of scope, in PathKey; else "service"
)

// MaxAnswer bounds an answer, in bytes.
const MaxAnswer = 16 << 20

// Info is what the machine is, and who asks.
type Info struct {
	Service    string     `json:"service"` // of the compose file, that asks
	Grants     []string   `json:"grants"`  // what it may ask for, sorted
	TEE        vm.TEE     `json:"tee"`
	Image      vm.Hash    `json:"image"` // dm-verity root hash of the root file system
	ConfigHash vm.Hash    `json:"config_hash"`
	Config     vm.Config  `json:"config"` // as measured; Canonical gives the bytes
	Events     []vm.Event `json:"events"` // of the boot, as measured

	ApplicationRegister vm.Register `json:"application_register"`
	ApplicationEvents   []vm.Event  `json:"application_events"` // that it is made of
}

// Quote is a quote about data of the container's choice.
type Quote struct {
	Data     string      `json:"data"`     // hex of what was asked about
	Evidence vm.Evidence `json:"evidence"` // over vm.WorkloadReportData of it, with the events of the boot

	// With AboutApplication: Evidence is over vm.ApplicationReportData of them and data.
	ApplicationRegister *vm.Register `json:"application_register,omitempty"`
	ApplicationEvents   []vm.Event   `json:"application_events,omitempty"`
}

// Event is what a container adds to the application's log.
type Event struct {
	Name    string `json:"name"`              // 1 to 64 letters, digits and ._:-
	Payload []byte `json:"payload,omitempty"` // base64 in JSON
}

// Logged is the application's log after an event.
type Logged struct {
	ApplicationRegister vm.Register `json:"application_register"`
	Events              int         `json:"events"`
}

// SignRequest is a message to sign. Its first two fields are those of existing
// machines.
type SignRequest struct {
	KeyType string  `json:"key_type,omitempty"` // ed25519 or secp256k1; empty: secp256k1
	Payload string  `json:"payload"`
	Domain  *string `json:"domain,omitempty"` // sign vm.SignedMessage instead of the payload alone
}

// Signature is of Ed25519 64 bytes; of secp256k1 ECDSA over SHA-256, in DER.
type Signature struct {
	Signature []byte `json:"signature"` // base64 in JSON
}

// PublicKey is a key that signs messages.
type PublicKey struct {
	KeyType  string      `json:"key_type"`
	PEM      string      `json:"pem"`      // SubjectPublicKeyInfo
	Evidence vm.Evidence `json:"evidence"` // over vm.SigningReportData of the key
}
