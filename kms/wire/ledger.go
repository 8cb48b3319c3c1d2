package wire

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/vm"
)

// Ledger is what a node reads in its ledger about a granted machine, and vouches
// for: it seals its answer to it. A machine that makes its keys of t envelopes
// of one Ledger knows that an honest node reads the same, as long as fewer than
// t nodes are dishonest. So fewer than t nodes can neither hide that a disk was
// rolled back, nor pass an environment off as the owner's: anybody can encrypt
// to a service, and only the owner can put it on the ledger. Nor can they make a
// machine believe another time than the chain's.
type Ledger struct {
	Time       int64   `json:"time"`       // of the block that granted, in seconds since 1970
	Generation uint64  `json:"generation"` // of the machine's disk
	Env        vm.Hash `json:"env"`        // Sealed.Digest; zero: there is none
	Registry   vm.Hash `json:"registry"`
}

// Ledger is what g says.
func (g Grant) Ledger() Ledger {
	return Ledger{Time: g.Time.Unix(), Generation: g.Generation, Env: g.Env.Digest(), Registry: g.Registry.Digest()}
}

// PartialInfo is the info of the envelope of a node's answer under a grant. It
// is keys.PartialInfo; the grant's id is followed by the time (u64 BE) and,
// where the owner sealed something, by the digests of what.
func (l Ledger) PartialInfo(grant vm.Hash, node uint32, ids []keys.ID) []byte {
	about := binary.BigEndian.AppendUint64(append([]byte{}, grant[:]...), uint64(l.Time))
	if !l.Env.IsZero() || !l.Registry.IsZero() {
		about = append(append(about, l.Env[:]...), l.Registry[:]...)
	}
	return keys.PartialInfo(about, l.Generation, node, ids)
}

// Digest is SHA-256 over epoch (u64 BE) and ciphertext, or zero for nil.
func (s *Sealed) Digest() vm.Hash {
	if s == nil {
		return vm.Hash{}
	}
	return sha256.Sum256(append(binary.BigEndian.AppendUint64(nil, s.Epoch), s.Ciphertext...))
}
