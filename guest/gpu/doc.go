// Package gpu is what the guest knows about GPUs: how to ask the one process
// that does know them (cmd/guest-gpu, in images for GPUs only), and how to show
// their evidence with the machine's quotes.
//
// The process is a child of guestd, asked as all of them are (package ipc).
// Libraries and drivers of another vendor, some hundred MB, run there and not in
// guestd.
//
// The order is the point (docs/decisions/0028). Devices prove themselves first;
// the key manager judges the proof together with the machine's quote; only when
// it has granted keys do the devices take work.
package gpu

// Program is where images for GPUs have the process, and Socket where it is asked.
const (
	Program = "/usr/lib/secretvm/guest-gpu"
	Socket  = "/run/secretvm/gpu.sock"
)

// CDIFolder is where the process describes the devices to the container engine,
// by the Container Device Interface, once they take work.
const CDIFolder = "/run/secretvm/cdi"

// What the process is asked.
const (
	Open     = "open"     // load drivers, wait for all devices, check their mode; answers what they are, for people
	Evidence = "evidence" // over a nonce (vm.Hash); answers *vm.GPUEvidence, without reference documents and revocation
	Ready    = "ready"    // let the devices take work
)

// Nothing is what is asked or answered where the question says it all.
type Nothing struct{}
