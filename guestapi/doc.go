// Package guestapi is how a container asks the machine that it runs in: for
// quotes about its own data, and what the machine is. The machine answers HTTP
// on a unix socket, which containers have whose service the measured config
// grants something (x-secretvm.api of the compose file); docs/guest-api.md shows
// the same with curl.
//
// The answers are believed: whoever could forge them runs the container.
package guestapi

import "github.com/secretvm/secretvm/vm"

// Socket is where a container finds the API.
const Socket = "/run/secretvm.sock"

// Paths of the API.
const (
	PathInfo  = "/info"
	PathQuote = "/quote"
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
}

// Quote is a quote about data of the container's choice.
type Quote struct {
	Data     string      `json:"data"`     // hex of what was asked about
	Evidence vm.Evidence `json:"evidence"` // over vm.WorkloadReportData of it, with the events of the boot
}
