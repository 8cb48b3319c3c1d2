// Package proof checks what a node says of the chain's state without believing
// it: an entry of a store, or that there is none, against the app hash that the
// validators signed.
//
// The state after block h has the app hash that is in the header of block h+1.
// A proof is two ICS-23 proofs, one inside the other: of the entry in its store,
// an IAVL tree, and of the store's root among those of all stores, a simple
// Merkle tree. The keys of x/kms' store are those of package types: ServiceKey,
// ImageKey, GrantKey and so on.
package proof

import (
	"errors"
	"fmt"

	"github.com/cometbft/cometbft/crypto/merkle"
	cmtcrypto "github.com/cometbft/cometbft/proto/tendermint/crypto"

	"github.com/cosmos/cosmos-sdk/store/v2/rootmulti"

	"github.com/secretvm/secretvm/vm"
)

// MaxProof bounds an encoded proof, in bytes: the depth of a tree is what
// matters, and the values beside an absent one.
const MaxProof = 1 << 20

// Entry is an entry of the state with its proof, as nodes answer it.
type Entry struct {
	Store  string `json:"store"` // "kms", "committee", "council", …
	Key    []byte `json:"key"`
	Value  []byte `json:"value,omitempty"` // absent: there is no such entry
	Height int64  `json:"height"`          // of the block after which the state is so
	Proof  []byte `json:"proof"`           // protobuf of tendermint.crypto.ProofOps
}

// Encode writes the operations of a proof.
func Encode(ops *cmtcrypto.ProofOps) ([]byte, error) {
	if ops == nil || len(ops.Ops) == 0 {
		return nil, errors.New("encode proof: there is none")
	}
	b, err := ops.Marshal()
	if err != nil {
		return nil, fmt.Errorf("encode proof: %w", err)
	}
	return b, nil
}

// Verify checks the entry against the app hash of its height, which is in the
// header of the block after it. Without a value it checks that there is none.
// The error is a refusal.
func (e Entry) Verify(appHash []byte) error {
	if len(e.Proof) > MaxProof {
		return vm.Refuse(vm.CodeTooLarge, "the proof has %d bytes, want at most %d", len(e.Proof), MaxProof)
	}
	if len(appHash) != len(vm.Hash{}) || e.Store == "" || len(e.Key) == 0 {
		return vm.Refuse(vm.CodeInvalid, "a proof is checked for a store and a key, against an app hash of %d bytes", len(vm.Hash{}))
	}
	var ops cmtcrypto.ProofOps
	if err := ops.Unmarshal(e.Proof); err != nil {
		return vm.Refuse(vm.CodeMalformed, "read the proof: %.200v", err)
	}
	if len(ops.Ops) != 2 {
		return vm.Refuse(vm.CodeMalformed, "the proof has %d parts, want the entry's and the store's", len(ops.Ops))
	}
	path := merkle.KeyPath{}.AppendKey([]byte(e.Store), merkle.KeyEncodingURL).AppendKey(e.Key, merkle.KeyEncodingHex).String()
	runtime := rootmulti.DefaultProofRuntime()
	check := func() error { return runtime.VerifyValue(&ops, appHash, path, e.Value) }
	if len(e.Value) == 0 {
		check = func() error { return runtime.VerifyAbsence(&ops, appHash, path) }
	}
	if err := safely(check); err != nil {
		return vm.Refuse(vm.CodeSignature, "the state does not hold this: %.200v", err).
			On("app hash", "another", fmt.Sprintf("%x", appHash)).Try("ask another node; this one is wrong about the ledger")
	}
	return nil
}

// safely turns a panic of the libraries, which read what a stranger sent, into
// an error.
func safely(check func() error) (err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("the proof cannot be read")
		}
	}()
	return check()
}
