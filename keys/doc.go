// Package keys is the arithmetic of the key manager: which key is meant (ID),
// how the group's secret is split and used without ever being assembled
// (Share, Partial, Combine), how a key follows from it (Derive), and how an
// answer is sealed to the machine that asked (Recipient, Seal), and how anybody
// encrypts to a key that only a granted machine will ever hold (Encrypt). How
// nodes make the secret among themselves is built from Polynomial, Proof and
// Interpolate by package dkg; how a lost node's share comes back by recovery.
//
// The scheme is threshold BLS on BLS12-381 used as a verifiable pseudo-random
// function (design: key management). A secret x is shared t-of-n (Feldman), the
// group key is P = x·G2, and the value of a key is σ = x·H(ID) in G1. Whoever
// has σ can check e(σ, G2) = e(H(ID), P), so that no node can forge a key.
//
// The package is pure: randomness comes in as an io.Reader, nothing is read
// from the network, the clock or a file, and no value depends on anything but
// the arguments. The curve, hash-to-curve and pairing are gnark-crypto's, whose
// scalar multiplication does not run in constant time: a share belongs on a
// machine that shares no core with strangers. Wipe overwrites what a value holds;
// copies that the collector or the curve library made on the way stay until
// their memory is used again.
package keys

import (
	"encoding/binary"
	"fmt"
)

// Domain labels. A value made for one use means nothing for another.
const (
	labelKey     = "secretvm/v1/key"
	labelPartial = "secretvm/v1/partial"
	labelGrant   = "secretvm/v1/grant"
	labelAdvance = "secretvm/v1/advance"
	labelIBE     = "secretvm/v1/ibe"
	labelProof   = "secretvm/v1/proof"
	labelNonce   = "secretvm/v1/proof-nonce"
)

// MaxNodes bounds how many shares a group key is split into.
const MaxNodes = 256

// join puts parts behind their lengths as big-endian uint32s, so that no two
// lists of parts give the same bytes.
func join(parts ...[]byte) []byte {
	var out []byte
	for _, p := range parts {
		out = binary.BigEndian.AppendUint32(out, uint32(len(p)))
		out = append(out, p...)
	}
	return out
}

// split undoes join for exactly n parts of at most limit bytes each.
func split(b []byte, n, limit int) ([][]byte, error) {
	parts := make([][]byte, 0, n)
	for i := range n {
		if len(b) < 4 {
			return nil, fmt.Errorf("part %d: its length is missing", i)
		}
		size := binary.BigEndian.Uint32(b)
		if size > uint32(limit) || int(size) > len(b)-4 {
			return nil, fmt.Errorf("part %d: %d bytes announced, want at most %d and no more than follow", i, size, limit)
		}
		parts = append(parts, b[4:4+size])
		b = b[4+size:]
	}
	if len(b) != 0 {
		return nil, fmt.Errorf("%d bytes trail the last part", len(b))
	}
	return parts, nil
}
