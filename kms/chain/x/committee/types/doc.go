// Package types holds the messages and the state of x/committee: generated from
// the .proto files in kms/chain/proto, with what each message must look like
// (ValidateBasic) and what the state must look like at genesis.
package types

//go:generate ../../../proto/generate.sh committee

// ModuleName is the module's name, and StoreKey that of its store.
const (
	ModuleName = "committee"
	StoreKey   = ModuleName
)
