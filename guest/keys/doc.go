// Package keys is how guestd gets the machine's keys without speaking to a key
// manager itself: a process of its own does (package release), which reads what
// nodes and hosts answer and has neither rights nor a device. This package is
// what the two say to each other, and guestd's side of it.
//
// guestd asks, and the process answers: with keys in the end, and until then
// with what it waits for or with a quote that it needs. It never says what is
// quoted: guestd makes quotes for releases of this machine and for nothing else
// (Quotes), so that a process which a stranger has taken over has the keys of
// the machine, as it must, and not the machine's word about anything else.
//
// The process lives until the key manager has heard of the machine's disk. Later
// ones are started when the disk advances, with what that takes (Released.Voice)
// and no key.
package keys

import (
	"time"

	"github.com/secretvm/secretvm/guest/ipc"
	"github.com/secretvm/secretvm/vm"
)

// Secret is key material.
type Secret = ipc.Secret

// Part is the process's name among the parts of guest-service.
const Part = "keys"

// What the process is asked, beside each question's type.
const (
	AskRelease = "release" // nothing: begin to ask for keys
	AskAdvance = "advance" // Advance: tell the key manager about the disk
	AskOn      = "on"      // Quoted: go on after an Answer that is not the last
)

// Settings is what the process is started with.
type Settings struct {
	Endpoints []string // of the key manager: the host's hints
	Config    []byte   // as measured
	Events    []vm.Event
}

// Answer is one step of the process's work. Without any field it is the end of
// an Advance.
type Answer struct {
	Waiting  *Waiting  `json:",omitempty"`
	Quote    *About    `json:",omitempty"` // wanted, in the next question
	Released *Released `json:",omitempty"` // the end of a release
}

// Waiting says why there is no decision yet.
type Waiting struct {
	Text string // in one line, and when the next try is; our words, no node's
	Said string // what nodes said about it, for the log
}

// About is what a quote for a release is about, beside what guestd knows itself.
// Empty: a quote for the contract of existing machines, whose key guestd draws.
type About struct {
	BlockHash  vm.Hash
	HPKEKey    []byte
	SessionKey []byte
}

// Quoted is the quote that was asked for; empty: none was.
type Quoted struct {
	Evidence *vm.Evidence `json:",omitempty"`
	Key      Secret       `json:",omitempty"` // X25519, for the contract of existing machines
}

// Advance is what the key manager is told about the disk.
type Advance struct {
	Voice      Secret
	Generation uint64
	Wait       bool // for a decision, however long that takes
}

// Released is what the key manager released to this boot.
type Released struct {
	Generation uint64   // how often the chain has seen this instance's disk ready
	Disk       []Secret // keys of the disk, 32 bytes each: of the machine's epoch and of earlier ones, newest first
	Named      []Named  // keys for what containers are granted
	Environ    Secret   // what the owner sealed as variables: vm.ParseEnvironment reads it; nil: nothing
	Registry   Secret   // what the owner sealed to log in to registries; nil: nothing
	Suspects   []string // nodes that answered wrongly, and how
	Voice      Secret   // for Advance; nil: this key manager counts no generations

	// Block is the time of the block that granted; zero where nobody vouches for
	// one. It was between two moments of this machine, so long before the answer.
	Block          time.Time
	Offered, Heard time.Duration
}

// Named is a key for what containers are granted.
type Named struct {
	Name  string // as vm.API.KeyNames has it
	Epoch uint64
	Key   Secret
}

// Wipe overwrites what is secret.
func (r *Released) Wipe() {
	for _, s := range r.Disk {
		clear(s)
	}
	for _, n := range r.Named {
		clear(n.Key)
	}
	clear(r.Environ)
	clear(r.Registry)
	clear(r.Voice)
}
