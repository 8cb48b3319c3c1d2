// Package types holds the messages and the state of x/kms: generated from the
// .proto files in kms/chain/proto, with what each message must look like
// (ValidateBasic), the errors, and the way to and from package vm's types.
package types

//go:generate ../../../proto/generate.sh kms

// ModuleName is the module's name, and StoreKey that of its store.
const (
	ModuleName = "kms"
	StoreKey   = ModuleName
)

// Bech32Prefix is the human-readable part of every address of the chain.
const Bech32Prefix = "svm"
