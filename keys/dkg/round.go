package dkg

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/secretvm/secretvm/keys"
)

// Domain labels.
const (
	labelRound = "secretvm/v1/dkg-round"
	labelShare = "secretvm/v1/dkg-share"
	labelDeal  = "secretvm/v1/dkg-deal"
	labelSeed  = "secretvm/v1/dkg-seed"
)

// maxChainID bounds the name of a chain, in bytes.
const maxChainID = 128

// Member is who gets a share.
type Member struct {
	Index uint32 // of the node, 1 to keys.MaxNodes, the same in every round
	Key   []byte // keys.Recipient.Public of the key made for this round
}

// Round is what everybody agrees on before the first deal.
type Round struct {
	ChainID   string
	Epoch     uint64   // of the group key
	Number    uint64   // never used twice on a chain
	Threshold int      // shares that make a key, afterwards
	Members   []Member // who gets shares, by ascending index
	// Dealers lists who deals, ascending: for a new key usually the members, for
	// resharing the holders of old shares that still exist.
	Dealers []uint32
	// Old is the sharing that is handed on; nil makes a new key.
	Old keys.Commitments
	// Context is what the dealers agree to beside the round, at most
	// MaxContext bytes: shares open under the same only. Rounds on a chain have
	// none.
	Context []byte
}

// MaxContext bounds a round's context, in bytes.
const MaxContext = 64

// Validate reports what makes a round impossible.
func (r Round) Validate() error {
	if r.ChainID == "" || len(r.ChainID) > maxChainID {
		return fmt.Errorf("round: chain id has %d bytes, want 1 to %d", len(r.ChainID), maxChainID)
	}
	if len(r.Members) == 0 || len(r.Members) > keys.MaxNodes {
		return fmt.Errorf("round: %d members, want 1 to %d", len(r.Members), keys.MaxNodes)
	}
	if r.Threshold < 1 || r.Threshold > len(r.Members) {
		return fmt.Errorf("round: threshold is %d of %d members", r.Threshold, len(r.Members))
	}
	indexes := make([]uint32, len(r.Members))
	for i, m := range r.Members {
		indexes[i] = m.Index
		if err := keys.CheckRecipientKey(m.Key); err != nil {
			return fmt.Errorf("round: member %d: %w", m.Index, err)
		}
	}
	if err := ascending(indexes); err != nil {
		return fmt.Errorf("round: members: %w", err)
	}
	if err := ascending(r.Dealers); err != nil {
		return fmt.Errorf("round: dealers: %w", err)
	}
	if len(r.Context) > MaxContext {
		return fmt.Errorf("round: context has %d bytes, want at most %d", len(r.Context), MaxContext)
	}
	if r.Old != nil {
		if err := r.Old.Validate(); err != nil {
			return fmt.Errorf("round: old sharing: %w", err)
		}
	}
	if len(r.Dealers) < r.Needed() {
		return fmt.Errorf("round: %d dealers, want %d", len(r.Dealers), r.Needed())
	}
	return nil
}

// ascending reports indexes that are out of range, out of order or there twice.
func ascending(indexes []uint32) error {
	last := uint32(0)
	for _, i := range indexes {
		if i <= last || i > keys.MaxNodes {
			return fmt.Errorf("index %d follows %d, want ascending from 1 to %d", i, last, keys.MaxNodes)
		}
		last = i
	}
	return nil
}

// Needed is how many dealers must qualify: of a new key as many as the threshold,
// so that fewer than that many liars never know the sum; of an old one as many
// as its threshold, since fewer shares do not make it.
func (r Round) Needed() int {
	if r.Old != nil {
		return r.Old.Threshold()
	}
	return r.Threshold
}

// Digest names the round with all that it says. Whatever is sealed or proven in
// it is bound to this.
func (r Round) Digest() [32]byte {
	b := appendPart(nil, []byte(labelRound))
	b = appendPart(b, []byte(r.ChainID))
	b = binary.BigEndian.AppendUint64(b, r.Epoch)
	b = binary.BigEndian.AppendUint64(b, r.Number)
	b = binary.BigEndian.AppendUint32(b, uint32(r.Threshold))
	b = binary.BigEndian.AppendUint32(b, uint32(len(r.Members)))
	for _, m := range r.Members {
		b = binary.BigEndian.AppendUint32(b, m.Index)
		b = appendPart(b, m.Key)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(r.Dealers)))
	for _, d := range r.Dealers {
		b = binary.BigEndian.AppendUint32(b, d)
	}
	b = appendPart(b, r.Old.Bytes())
	if len(r.Context) != 0 {
		b = appendPart(b, r.Context)
	}
	return sha256.Sum256(b)
}

// appendPart adds a part behind its length as a big-endian uint32.
func appendPart(b, part []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(part))), part...)
}

// member returns the place of a member in the list.
func (r Round) member(index uint32) (int, bool) {
	return slices.BinarySearchFunc(r.Members, index, func(m Member, i uint32) int { return int(m.Index) - int(i) })
}

// dealer reports an index that does not deal.
func (r Round) dealer(index uint32) error {
	if _, ok := slices.BinarySearch(r.Dealers, index); !ok {
		return fmt.Errorf("node %d does not deal in round %d", index, r.Number)
	}
	return nil
}

// DealSize is the size of every deal of the round, in bytes.
func (r Round) DealSize() int { return dealSize(r.Threshold, len(r.Members)) }

// Read decodes a deal of this round and checks all of it that is public: sizes
// first, so that a hostile one costs little, then dealer, commitments, in
// resharing that the secret under them is the dealer's old share, and the proof.
func (r Round) Read(b []byte) (Deal, error) {
	if len(b) != r.DealSize() {
		return Deal{}, fmt.Errorf("deal has %d bytes, want %d for %d members and threshold %d",
			len(b), r.DealSize(), len(r.Members), r.Threshold)
	}
	d, err := ParseDeal(b)
	if err != nil {
		return Deal{}, err
	}
	return d, r.Check(d)
}

// Check checks the public part of a deal, as Read does.
func (r Round) Check(d Deal) error {
	if err := r.dealer(d.Dealer); err != nil {
		return err
	}
	if err := r.check(d); err != nil {
		return fmt.Errorf("deal of node %d: %w", d.Dealer, err)
	}
	return nil
}

func (r Round) check(d Deal) error {
	if len(d.Commitments) != r.Threshold {
		return fmt.Errorf("%d commitments, want %d", len(d.Commitments), r.Threshold)
	}
	if len(d.Sealed) != len(r.Members) {
		return fmt.Errorf("%d sealed shares, want %d", len(d.Sealed), len(r.Members))
	}
	if err := d.Commitments.Validate(); err != nil {
		return err
	}
	if r.Old != nil {
		public, err := r.Old.Public(d.Dealer)
		if err != nil {
			return err
		}
		if !d.Commitments.GroupKey().Equal(public) {
			return errors.New("it does not share the dealer's old share: its first commitment is not that share's public key")
		}
	}
	return keys.VerifyProof(d.Commitments, r.statement(d), d.Proof)
}

// statement is what a deal's proof is bound to: the round, the dealer, and the
// sealed shares, so that nobody can put other shares under a right proof.
func (r Round) statement(d Deal) []byte {
	round, sealed := r.Digest(), sha256.New()
	for _, s := range d.Sealed {
		sealed.Write(s)
	}
	b := appendPart(nil, []byte(labelDeal))
	b = append(b, round[:]...)
	b = binary.BigEndian.AppendUint32(b, d.Dealer)
	return sealed.Sum(b)
}

// Equivocates reports whether both deals are right deals of one dealer in this
// round and differ: proof that it dealt twice. A chain that accepts only the
// first never sees it; in resharing the proofs show that the old share was used
// both times.
func (r Round) Equivocates(a, b Deal) bool {
	return a.Dealer == b.Dealer && a.Digest() != b.Digest() && r.Check(a) == nil && r.Check(b) == nil
}
