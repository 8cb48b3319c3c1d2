package dkg

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/secretvm/secretvm/keys"
)

// Open returns the share that a deal holds for a member, whose key is the one
// that the round names. An error means: complain. The deal has passed Check.
func (r Round) Open(d Deal, member uint32, key *keys.Recipient) (keys.Share, error) {
	at, ok := r.member(member)
	if !ok {
		return keys.Share{}, fmt.Errorf("open deal of node %d: node %d gets no share in round %d", d.Dealer, member, r.Number)
	}
	if at >= len(d.Sealed) {
		return keys.Share{}, fmt.Errorf("open deal of node %d: it has no share for node %d", d.Dealer, member)
	}
	plain, err := key.Open(r.info(d.Dealer, member), d.Sealed[at])
	if err != nil {
		return keys.Share{}, fmt.Errorf("open deal of node %d for node %d: %w", d.Dealer, member, err)
	}
	defer clear(plain)
	s, err := keys.ParseShare(member, plain)
	if err != nil {
		return keys.Share{}, fmt.Errorf("open deal of node %d for node %d: %w", d.Dealer, member, err)
	}
	if err := d.Commitments.Verify(s); err != nil {
		return keys.Share{}, fmt.Errorf("open deal of node %d: %w", d.Dealer, err)
	}
	return s, nil
}

// Complaint says that a member got no right share in a deal. Who posts it is for
// the chain to check.
type Complaint struct {
	Dealer, Member uint32
	Deal           [32]byte // Digest of the deal that is meant
}

// complaintVersion is the first byte of an encoded complaint.
const complaintVersion = 1

// ComplaintSize is the size of an encoded complaint, in bytes.
const ComplaintSize = 1 + 4 + 4 + 32

// Encode returns version 1 (one byte), dealer, member (uint32 big-endian each)
// and the deal's digest.
func (c Complaint) Encode() []byte {
	b := binary.BigEndian.AppendUint32([]byte{complaintVersion}, c.Dealer)
	b = binary.BigEndian.AppendUint32(b, c.Member)
	return append(b, c.Deal[:]...)
}

// ParseComplaint reads what Encode wrote and nothing else.
func ParseComplaint(b []byte) (Complaint, error) {
	if len(b) != ComplaintSize || b[0] != complaintVersion {
		return Complaint{}, fmt.Errorf("decode complaint: %d bytes, want %d of version %d", len(b), ComplaintSize, complaintVersion)
	}
	c := Complaint{Dealer: binary.BigEndian.Uint32(b[1:]), Member: binary.BigEndian.Uint32(b[5:])}
	copy(c.Deal[:], b[9:])
	return c, checkPair(c.Dealer, c.Member)
}

func checkPair(dealer, member uint32) error {
	if dealer == 0 || dealer > keys.MaxNodes || member == 0 || member > keys.MaxNodes {
		return fmt.Errorf("dealer %d and member %d, want each 1 to %d", dealer, member, keys.MaxNodes)
	}
	return nil
}

// Complain makes a member's complaint about a deal.
func Complain(d Deal, member uint32) Complaint {
	return Complaint{Dealer: d.Dealer, Member: member, Deal: d.Digest()}
}

// CheckComplaint reports a complaint that is not about this deal of this round.
// Whether it is justified, only the dealer's answer shows.
func (r Round) CheckComplaint(d Deal, c Complaint) error {
	if err := r.dealer(c.Dealer); err != nil {
		return fmt.Errorf("complaint: %w", err)
	}
	if _, ok := r.member(c.Member); !ok {
		return fmt.Errorf("complaint: node %d gets no share in round %d", c.Member, r.Number)
	}
	if c.Dealer != d.Dealer || c.Deal != d.Digest() {
		return fmt.Errorf("complaint of node %d: not about the deal of node %d that was posted", c.Member, c.Dealer)
	}
	return nil
}

// Justification answers a complaint with the share in question. It is public,
// and so is that share from then on.
type Justification struct {
	Dealer, Member uint32
	Share          [keys.ScalarSize]byte // big-endian
}

// justificationVersion is the first byte of an encoded justification.
const justificationVersion = 1

// JustificationSize is the size of an encoded justification, in bytes.
const JustificationSize = 1 + 4 + 4 + keys.ScalarSize

// Encode returns version 1 (one byte), dealer, member (uint32 big-endian each)
// and the share.
func (j Justification) Encode() []byte {
	b := binary.BigEndian.AppendUint32([]byte{justificationVersion}, j.Dealer)
	b = binary.BigEndian.AppendUint32(b, j.Member)
	return append(b, j.Share[:]...)
}

// ParseJustification reads what Encode wrote and nothing else: the share must be
// reduced and not zero.
func ParseJustification(b []byte) (Justification, error) {
	if len(b) != JustificationSize || b[0] != justificationVersion {
		return Justification{}, fmt.Errorf("decode justification: %d bytes, want %d of version %d", len(b), JustificationSize, justificationVersion)
	}
	j := Justification{Dealer: binary.BigEndian.Uint32(b[1:]), Member: binary.BigEndian.Uint32(b[5:])}
	copy(j.Share[:], b[9:])
	if err := checkPair(j.Dealer, j.Member); err != nil {
		return Justification{}, fmt.Errorf("decode justification: %w", err)
	}
	if _, err := keys.ParseShare(j.Member, j.Share[:]); err != nil {
		return Justification{}, fmt.Errorf("decode justification: %w", err)
	}
	return j, nil
}

// CheckJustification reports an answer that is not the member's share under the
// deal's commitments.
func (r Round) CheckJustification(d Deal, j Justification) error {
	_, err := r.justified(d, j)
	return err
}

func (r Round) justified(d Deal, j Justification) (keys.Share, error) {
	if j.Dealer != d.Dealer {
		return keys.Share{}, fmt.Errorf("justification of node %d: not about the deal of node %d", j.Dealer, d.Dealer)
	}
	if _, ok := r.member(j.Member); !ok {
		return keys.Share{}, fmt.Errorf("justification: node %d gets no share in round %d", j.Member, r.Number)
	}
	s, err := keys.ParseShare(j.Member, j.Share[:])
	if err == nil {
		err = d.Commitments.Verify(s)
	}
	if err != nil {
		return keys.Share{}, fmt.Errorf("justification of node %d: %w", j.Dealer, err)
	}
	return s, nil
}

// ErrRevealing is why a dealer does not answer: as many members complain as
// shares make its polynomial.
var ErrRevealing = errors.New("answering would reveal the dealer's polynomial")

// Justify answers the complaints about this dealer, one answer for each member
// that complains; those about others are skipped. It answers none, with
// ErrRevealing, if the threshold or more members complain.
func (d *Dealer) Justify(complaints []Complaint) ([]Justification, error) {
	var answers []Justification
	answered := make(map[uint32]bool)
	for _, c := range complaints {
		if _, ok := d.round.member(c.Member); c.Dealer != d.index || !ok || answered[c.Member] {
			continue
		}
		answered[c.Member] = true
		share, err := d.polynomial.Share(c.Member)
		if err != nil {
			return nil, fmt.Errorf("justify the share of node %d: %w", c.Member, err)
		}
		answers = append(answers, Justification{d.index, c.Member, [keys.ScalarSize]byte(share.Bytes())})
	}
	if len(answers) >= d.round.Threshold {
		clear(answers)
		return nil, fmt.Errorf("justify to %d members: %w", len(answered), ErrRevealing)
	}
	return answers, nil
}
