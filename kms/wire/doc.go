// Package wire is the key manager's HTTP interface as both sides see it: paths,
// the JSON of requests and answers, and the one function that calls it. Node and
// guest share it; it knows no chain.
//
// Every answer other than 200 is a vm.Refusal. Byte strings are base64, digests
// and public keys lower-case hex, times RFC 3339.
package wire

import "strconv"

// Paths of the interface. {…} are segments.
const (
	PathStatus   = "/kms/v1/status"   // GET, ?epoch=N for another than the oldest open one: Status
	PathRelease  = "/kms/v1/release"  // POST Release: Grant
	PathPartials = "/kms/v1/partials" // POST PartialsRequest: Partials
	PathAdvance  = "/kms/v1/advance"  // POST Advance: Advanced
	PathServices = "/kms/v1/services" // GET: []Service; below it {owner}/{name}: Service, and …/log: Log
	PathGrants   = "/kms/v1/grants"   // GET {id}: Grant
	PathParams   = "/kms/v1/params"   // GET: Params
	PathGenesis  = "/kms/v1/genesis"  // GET: the chain's genesis file
	PathAccounts = "/kms/v1/accounts" // GET {address}: Account
	PathTx       = "/kms/v1/tx"       // POST Tx: TxResult
)

// Bounds of bodies, in bytes. A release carries a quote, collateral, events and
// config in base64. What machines are answered is smaller than what people are:
// a machine asks many nodes at once, and any of them may be hostile.
const (
	MaxRequest       = 1 << 20
	MaxAnswer        = 4 << 20
	MaxMachineAnswer = 512 << 10
)

// PathStatusOf is the path of the status that a machine needs whose config names the
// group key of that epoch.
func PathStatusOf(epoch uint64) string { return PathStatus + "?epoch=" + strconv.FormatUint(epoch, 10) }
