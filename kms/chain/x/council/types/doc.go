// Package types holds the messages and the state of x/council: generated from
// the .proto files in kms/chain/proto, with what each message must look like
// (ValidateBasic) and the address of a council.
package types

import (
	"encoding/binary"
	"fmt"

	"github.com/cosmos/cosmos-sdk/types/address"
	"github.com/cosmos/cosmos-sdk/types/bech32"

	kmstypes "github.com/secretvm/secretvm/kms/chain/x/kms/types"
)

//go:generate ../../../proto/generate.sh council

// ModuleName is the module's name, and StoreKey that of its store.
const (
	ModuleName = "council"
	StoreKey   = ModuleName
)

// Bounds of councils and proposals.
const (
	MaxMembers     = 32
	MaxAdmitted    = 32 // addresses of one MsgAdmit
	MaxDescription = 256
	MaxTitle       = 256
	MaxMessages    = 16
	MaxBytes       = 256 << 10 // of a proposal's messages together
	MaxOpen        = 32        // proposals of one council
	MaxClosed      = 100       // proposals of one council that the ledger keeps
	MaxDepth       = 4         // executions within executions

	MinLifetime     = 60            // seconds
	DefaultLifetime = 7 * 24 * 3600 // seconds
	MaxLifetime     = 90 * 24 * 3600
)

// addressSize is that of every account of the chain. 160 bits cannot be hit by
// choosing keys, and ids of councils cannot be chosen.
const addressSize = 20

// Address returns the address of the council with an id. It has no key.
func Address(id uint64) (string, error) {
	derived := address.Module(ModuleName, binary.BigEndian.AppendUint64(nil, id))
	s, err := bech32.ConvertAndEncode(kmstypes.Bech32Prefix, derived[:addressSize])
	if err != nil {
		return "", fmt.Errorf("address of council %d: %w", id, err)
	}
	return s, nil
}
