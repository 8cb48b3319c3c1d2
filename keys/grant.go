package keys

import (
	"crypto/sha256"
	"encoding/binary"
)

// GrantID names the grant that answers the release with that report_data on
// that chain. It follows from the release, so the same release can never be
// granted twice.
func GrantID(chainID string, reportData [64]byte) [32]byte {
	return sha256.Sum256(join([]byte(labelGrant), []byte(chainID), reportData[:]))
}

// AdvanceMessage is what a machine's session key signs (Ed25519, RFC 8032) to
// say that its disk now carries generation.
func AdvanceMessage(chainID string, grant [32]byte, generation uint64) []byte {
	return join([]byte(labelAdvance), []byte(chainID), grant[:], binary.BigEndian.AppendUint64(nil, generation))
}
