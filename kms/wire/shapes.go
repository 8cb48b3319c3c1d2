package wire

import (
	"encoding/json"
	"time"

	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/vm"
)

// Status is what a machine must know of the chain before it asks: the newest
// block that a release may name, and how the group's secret is shared.
type Status struct {
	ChainID      string           `json:"chain_id"`
	Epoch        uint64           `json:"epoch"` // of the group key: the one asked for, or the oldest that is open
	GroupKey     keys.PublicKey   `json:"group_key"`
	Threshold    int              `json:"threshold"`
	Commitments  keys.Commitments `json:"commitments"` // the first is the group key
	Nodes        []Node           `json:"nodes"`
	Height       int64            `json:"height"`
	BlockHash    vm.Hash          `json:"block_hash"`
	Time         time.Time        `json:"time"`
	Newest       int64            `json:"newest_height"`       // of this node's blocks; Height is the newest that is recorded
	Open         []uint64         `json:"open_epochs"`         // of which keys are made
	Round        string           `json:"round,omitempty"`     // what the nodes are about, for people
	DecideMillis uint64           `json:"decide_ms,omitempty"` // how long decisions take at this node lately, in milliseconds
	Warnings     []string         `json:"warnings,omitempty"`  // why this chain is for development only
}

// Node is one holder of a share.
type Node struct {
	Index     uint32         `json:"index"`
	PublicKey keys.PublicKey `json:"public_key"`
	API       string         `json:"api,omitempty"` // a hint
	Attested  bool           `json:"attested"`      // whether the chain has seen a quote of it
}

// Release is a machine's request for keys.
type Release struct {
	Service    string      `json:"service"`
	InstanceID string      `json:"instance_id"`
	HPKEKey    []byte      `json:"hpke_key"`    // keys.Recipient.Public
	SessionKey []byte      `json:"session_key"` // Ed25519, 32 bytes
	Height     int64       `json:"height"`
	BlockHash  vm.Hash     `json:"block_hash"`
	Config     []byte      `json:"config"` // canonical vm.Config
	Evidence   vm.Evidence `json:"evidence"`
	Keys       []keys.ID   `json:"keys"`
}

// Grant is the chain's decision that a machine may have keys.
type Grant struct {
	ID         vm.Hash   `json:"id"`
	Service    string    `json:"service"`
	InstanceID string    `json:"instance_id"`
	Image      uint64    `json:"image"`
	Keys       []keys.ID `json:"keys"`
	HPKEKey    []byte    `json:"hpke_key"`
	SessionKey []byte    `json:"session_key"`
	Generation uint64    `json:"generation"` // of the machine's disk; 0: never used
	Height     int64     `json:"height"`
	Time       time.Time `json:"time"`
	TCBStatus  string    `json:"tcb_status"`
	Anchor     vm.Anchor `json:"anchor"`
	Env        *Sealed   `json:"env,omitempty"`      // what the service's owner sealed for its machines
	Registry   *Sealed   `json:"registry,omitempty"` //
}

// Sealed is what an owner encrypted (keys.Encrypt) to one of the service's keys,
// of the name of the field that holds it.
type Sealed struct {
	Epoch      uint64 `json:"epoch"` // of the key
	Ciphertext []byte `json:"ciphertext"`
}

// PartialsRequest asks one node for its parts of keys that were granted.
type PartialsRequest struct {
	Grant vm.Hash   `json:"grant"`
	Keys  []keys.ID `json:"keys"`
}

// Partials is the answer: the 48-byte points in the order of the request,
// sealed to the grant's HPKE key with info Ledger.PartialInfo. Points of
// different sharings do not go together, so an answer names its own; without,
// it is the one of the node's status.
type Partials struct {
	Grant       vm.Hash          `json:"grant"`
	Node        uint32           `json:"node"`
	Ledger      Ledger           `json:"ledger"`
	Commitments keys.Commitments `json:"commitments,omitempty"` // of the sharing that the points were made under
	Sealed      []byte           `json:"sealed"`
}

// Advance says that a machine's disk now carries a generation.
type Advance struct {
	Grant      vm.Hash `json:"grant"`
	Generation uint64  `json:"generation"`
	Signature  []byte  `json:"signature"` // by the session key over keys.AdvanceMessage
}

// Advanced is the generation that the chain now knows.
type Advanced struct {
	Generation uint64 `json:"generation"`
}

// Service is what an owner registered.
type Service struct {
	ID     string    `json:"id"`
	Owner  string    `json:"owner"`
	Name   string    `json:"name"`
	Height int64     `json:"created_height"`
	Time   time.Time `json:"created_at"`
	Grants uint64    `json:"grants"` // how many were ever made
	Frozen bool      `json:"frozen"` // there will never be another image
	Policy Policy    `json:"policy"` // in force
	Images []Image   `json:"images"`

	PendingPolicy *PendingPolicy `json:"pending_policy,omitempty"`
}

// Policy is what a service demands. Durations are in seconds.
type Policy struct {
	UpgradeDelay    uint64    `json:"upgrade_delay"`
	TCBStatuses     []string  `json:"tcb_statuses,omitempty"` // accepted beside UpToDate
	Grace           uint64    `json:"grace,omitempty"`
	Advisories      []string  `json:"advisories,omitempty"` // accepted
	Hardware        *[]string `json:"hardware,omitempty"`   // accepted processors; absent: any
	MinEvaluation   uint64    `json:"min_evaluation,omitempty"`
	MaxEvidenceAge  uint64    `json:"max_evidence_age,omitempty"`
	StaleCollateral uint64    `json:"stale_collateral,omitempty"`
}

// PendingPolicy is a policy that was announced.
type PendingPolicy struct {
	Policy
	ActiveAt time.Time `json:"active_at"`
}

// Image is a set of registers that may have a service's keys. It is shown with
// the first of its platforms.
type Image struct {
	Index       uint64          `json:"index"`
	State       string          `json:"state"`            // active, pending or revoked
	Platforms   uint64          `json:"platforms"`        // how many
	MRTD        *vm.Register    `json:"mrtd,omitempty"`   // of the first, on TDX
	RTMR0       *vm.Register    `json:"rtmr0,omitempty"`  // of the first, on TDX
	Launch      *vm.Register    `json:"launch,omitempty"` // of the first, on SEV-SNP
	RTMR1       *vm.Register    `json:"rtmr1,omitempty"`  // on TDX, as the next
	RTMR2       *vm.Register    `json:"rtmr2,omitempty"`
	RTMR3       *vm.Register    `json:"rtmr3,omitempty"` // of the template
	Description string          `json:"description"`
	RootHash    *vm.Hash        `json:"root_hash,omitempty"`
	Template    json.RawMessage `json:"template,omitempty"` // canonical vm.Config.Template
	Height      int64           `json:"height"`
	Time        time.Time       `json:"added_at"`
	ActiveAt    time.Time       `json:"active_at"`
	RevokedAt   *time.Time      `json:"revoked_at,omitempty"`
	Revocation  string          `json:"revocation,omitempty"` // the owner's words
}

// Log is what became of a service's requests, newest first.
type Log struct {
	Service  string    `json:"service"`
	Grants   []Grant   `json:"grants"`
	Refusals []Refused `json:"refusals"`
}

// Refused is one refusal on the ledger. The same one again raises Count.
type Refused struct {
	Seq        uint64    `json:"seq"`
	Height     int64     `json:"height"`
	Time       time.Time `json:"time"`
	Count      uint64    `json:"count"`
	InstanceID string    `json:"instance_id"`
	vm.Refusal
}

// Params are the chain's settings, from genesis.
type Params struct {
	TrustRoots      []vm.Anchor `json:"trust_roots"`
	MaxBlockAge     uint64      `json:"max_block_age"`         // blocks
	MaxBlockSeconds uint64      `json:"max_block_age_seconds"` // of block time
	GrantLifetime   uint64      `json:"grant_lifetime_seconds"`
}

// Account is what the signer of a transaction must know.
type Account struct {
	ChainID  string `json:"chain_id"`
	Address  string `json:"address"`
	Number   uint64 `json:"number"`
	Sequence uint64 `json:"sequence"`
}

// Tx is a signed transaction.
type Tx struct {
	Tx []byte `json:"tx"`
}

// TxResult is what became of a transaction that is in a block.
type TxResult struct {
	Hash   string `json:"hash"` // hex
	Height int64  `json:"height"`
	Data   []byte `json:"data"` // the SDK's TxMsgData: the messages' responses
}
