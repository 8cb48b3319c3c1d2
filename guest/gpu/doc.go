// Package gpu is what the guest knows about GPUs: how to ask the one process
// that does know them (cmd/guest-gpu, in images for GPUs only), and how to show
// their evidence with the machine's quotes.
//
// The process is a child of guestd and answers on its standard output, one line
// of JSON for each line on its standard input. Libraries and drivers of another
// vendor, some hundred MB, run there and not in guestd.
//
// The order is the point (docs/decisions/0028). Devices prove themselves first;
// the key manager judges the proof together with the machine's quote; only when
// it has granted keys do the devices take work.
package gpu

import "github.com/secretvm/secretvm/vm"

// Program is where images for GPUs have the process.
const Program = "/usr/lib/secretvm/guest-gpu"

// CDIFolder is where the process describes the devices to the container engine,
// by the Container Device Interface, once they take work.
const CDIFolder = "/run/secretvm/cdi"

// What the process is asked.
const (
	OpOpen     = "open"     // load drivers, wait for all devices, check their mode
	OpEvidence = "evidence" // of all devices, over a nonce
	OpReady    = "ready"    // let the devices take work
)

// Request is one line to the process.
type Request struct {
	Op    string   `json:"op"`
	Nonce *vm.Hash `json:"nonce,omitempty"` // of OpEvidence
}

// Answer is one line of the process.
type Answer struct {
	Error    string          `json:"error,omitempty"`
	Summary  string          `json:"summary,omitempty"`  // of OpOpen, for people
	Evidence *vm.GPUEvidence `json:"evidence,omitempty"` // of OpEvidence, without reference documents and revocation
}
