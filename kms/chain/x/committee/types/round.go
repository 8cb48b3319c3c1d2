package types

import (
	"crypto/sha256"
	"fmt"

	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/keys/dkg"
)

// Digest is the SHA-256 of the identity's sealing key, which tells apart what
// the same node was before and after its keys were changed.
func (i Identity) Digest() []byte {
	d := sha256.Sum256(i.SealingKey)
	return d[:]
}

// Holder makes the holder of a share under this identity; index is the node's.
func (i Identity) Holder(index uint32) Holder {
	return Holder{Index: index, SealingKey: i.SealingKey, IdentityDigest: i.Digest()}
}

// Holder returns the one of an index.
func (r Round) Holder(index uint32) (Holder, bool) {
	for _, h := range r.Holders {
		if h.Index == index {
			return h, true
		}
	}
	return Holder{}, false
}

// Arithmetic returns the round as package dkg knows it.
func (r Round) Arithmetic(chainID string) (dkg.Round, error) {
	out := dkg.Round{ChainID: chainID, Epoch: r.Epoch, Number: r.Id, Threshold: int(r.Threshold), Dealers: r.Dealers}
	for _, h := range r.Holders {
		out.Members = append(out.Members, dkg.Member{Index: h.Index, Key: h.SealingKey})
	}
	for i, b := range r.Old {
		k, err := keys.ParsePublicKey(b)
		if err != nil {
			return out, fmt.Errorf("round %d: commitment %d of the sharing before: %w", r.Id, i, err)
		}
		out.Old = append(out.Old, k)
	}
	return out, nil
}

// Reveals returns the justification as package dkg knows it; scalars are of 32
// bytes, as ValidateBasic holds.
func (j Justification) Reveals(dealer uint32) []dkg.Justification {
	out := make([]dkg.Justification, len(j.Shares))
	for i, s := range j.Shares {
		out[i] = dkg.Justification{Dealer: dealer, Member: s.Holder}
		copy(out[i].Share[:], s.Scalar)
	}
	return out
}
