// Package volume decides what happens to a machine's data disk at boot, and
// never guesses. There are three outcomes: a blank disk of an instance that
// the key manager has never seen used is formatted; a disk that opens and is
// as old as the key manager remembers is mounted; everything else is an error,
// with the disk as it was.
//
// # Generations
//
// The chain counts the boots of an instance: its generation G is 0 until the
// first disk was ready. The disk carries the same number inside its encrypted
// file system. A whole disk put back to an older state therefore says less
// than G, and the boot stops. The disk may say G+1: it was written and the
// chain was not told before the power went.
//
// The order is always: write G+1 to the disk, sync, tell the chain, and only
// then start the workload. So a chain that says 0 means that no workload has
// ever written to this instance's disk, which is why a first format that was
// interrupted may be repeated, and why it may be repeated only then.
package volume

import "errors"

// Errors of Open. A luks.ErrWrongKey or luks.ErrHeader is wrapped as it is.
var (
	// ErrGone: the disk is blank, but the chain knows it as used.
	ErrGone = errors.New("the disk is blank, but this instance has stored data before")
	// ErrRolledBack: the disk is older than the chain remembers.
	ErrRolledBack = errors.New("the disk is an old copy of this instance's disk")
	// ErrAhead: the disk is newer than the chain remembers.
	ErrAhead = errors.New("the disk is newer than the key manager remembers")
)
