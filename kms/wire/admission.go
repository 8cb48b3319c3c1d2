package wire

import "github.com/secretvm/secretvm/vm"

// PathAdmission is where a node that runs in a machine proves what it runs, to
// whoever is to bring it to its chain: POST AdmissionRequest: Admission.
const PathAdmission = "/kms/v1/admission"

// AdmissionRequest names who will run the node.
type AdmissionRequest struct {
	Operator string `json:"operator"` // account
}

// Admission is what a node says of itself, and the evidence that it does.
type Admission struct {
	ChainID      string      `json:"chain_id"`
	Operator     string      `json:"operator"`
	Relay        string      `json:"relay"`         // account that the node signs with
	ConsensusKey []byte      `json:"consensus_key"` // Ed25519, 32 bytes
	SealingKey   []byte      `json:"sealing_key"`   // keys.Recipient.Public
	PeerID       string      `json:"peer_id"`       // of CometBFT, hex
	InstanceID   string      `json:"instance_id"`
	Height       int64       `json:"height"`
	BlockHash    vm.Hash     `json:"block_hash"`
	Config       []byte      `json:"config"`   // canonical vm.Config
	Evidence     vm.Evidence `json:"evidence"` // over vm.Admission of the fields above
}
