// Package integrity sets up dm-integrity over the plaintext device of an encrypted
// disk: every block carries an HMAC-SHA-256, so that a block that the host changed,
// moved or wrote noise into is a read error instead of other data (threat D3).
//
// It lies above the encryption, not below it: the tags, the journal and the
// superblock are encrypted with everything else, the host cannot tell them from
// data, and the header of the disk is the one of every other disk. The tag covers
// the block's number. Superblock and journal carry HMACs under a key of their own.
//
// What it does not detect: a block put back to what it was at the same place,
// together with its tag. That is for the generation of the disk, which is counted
// by the chain, and only for the disk as a whole.
//
// Reading a block that was never written is an error too, which is why Format
// writes all of the device once.
//
// Reference: Documentation/admin-guide/device-mapper/dm-integrity.rst; the
// superblock is struct superblock of drivers/md/dm-integrity.c.
package integrity

import (
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
)

// ErrSuperblock is wrapped by Activate where no superblock of this system's is.
var ErrSuperblock = errors.New("no superblock of dm-integrity")

// Keys are those of one disk. They never print.
type Keys struct {
	tags    [32]byte
	journal [32]byte
}

// Derive makes the keys from the volume key of the disk's encryption.
func Derive(volume []byte) (k Keys, err error) {
	for label, into := range map[string]*[32]byte{"secretvm/v1/disk/integrity/tags": &k.tags, "secretvm/v1/disk/integrity/journal": &k.journal} {
		b, err := hkdf.Key(sha256.New, volume, nil, label, len(into))
		if err != nil {
			return k, fmt.Errorf("derive key of the disk's integrity: %w", err)
		}
		copy(into[:], b)
		clear(b)
	}
	return k, nil
}

// Wipe forgets the keys.
func (k *Keys) Wipe() {
	clear(k.tags[:])
	clear(k.journal[:])
}

func (Keys) String() string   { return "redacted" }
func (Keys) GoString() string { return "redacted" }
