// Package kms is the module x/kms: services with their images, and the
// decision, by consensus and in public, whether a machine may have its keys.
//
// What an owner gives a service's machines anew takes effect after the service's
// upgrade delay, in public until then: images, looser policies, what was sealed.
// What takes away is immediate. A release finds its image by one entry of an
// index, whatever else there is, so that limits of lists do not bound services.
//
// A release is decided from what the transaction carries, the chain's state and
// the block's time, by package attest and package decision. Nothing
// here reads a clock, a file or the network, and nothing here holds a secret:
// nodes compute partial keys elsewhere, for grants that they find on the ledger.
package kms
