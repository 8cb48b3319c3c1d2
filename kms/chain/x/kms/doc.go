// Package kms is the module x/kms: services with their images, and the
// decision, by consensus and in public, whether a machine may have its keys.
//
// A release is decided from what the transaction carries, the chain's state and
// the block's time, by package attest and the comparisons of decide.go. Nothing
// here reads a clock, a file or the network, and nothing here holds a secret:
// nodes compute partial keys elsewhere, for grants that they find on the ledger.
package kms
