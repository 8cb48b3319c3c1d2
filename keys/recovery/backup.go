package recovery

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"filippo.io/age"

	"github.com/secretvm/secretvm/keys"
)

// Domain labels.
const (
	labelBackup = "secretvm/v1/recovery-backup"
	labelPiece  = "secretvm/v1/recovery-piece"
)

// Bounds: committee members, and bytes of a chain id and of a sealed piece.
const (
	MaxMembers     = 32
	maxChainID     = 128
	maxSealedPiece = 4 << 10
)

// Subject is whose share is meant.
type Subject struct {
	ChainID string
	Epoch   uint64         // of the group key
	Round   uint64         // in which the share was made
	Node    uint32         // its index
	Public  keys.PublicKey // of the share: keys.Commitments.Public(Node)
}

func (s Subject) validate() error {
	if s.ChainID == "" || len(s.ChainID) > maxChainID {
		return fmt.Errorf("chain id has %d bytes, want 1 to %d", len(s.ChainID), maxChainID)
	}
	if s.Node == 0 || s.Node > keys.MaxNodes {
		return fmt.Errorf("node index is %d, want 1 to %d", s.Node, keys.MaxNodes)
	}
	return nil
}

// encode returns chain id behind its length (uint16), epoch, round (uint64),
// node (uint32), all big-endian, and the share's public key.
func (s Subject) encode(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(s.ChainID)))
	b = append(b, s.ChainID...)
	b = binary.BigEndian.AppendUint64(b, s.Epoch)
	b = binary.BigEndian.AppendUint64(b, s.Round)
	b = binary.BigEndian.AppendUint32(b, s.Node)
	return append(b, s.Public.Bytes()...)
}

// readSubject undoes encode and returns what follows.
func readSubject(b []byte) (s Subject, rest []byte, err error) {
	if len(b) < 2 {
		return s, nil, errors.New("chain id is missing")
	}
	n := int(binary.BigEndian.Uint16(b))
	b = b[2:]
	if n > maxChainID || len(b) < n+8+8+4+keys.PublicKeySize {
		return s, nil, fmt.Errorf("%d bytes follow a chain id of %d", len(b), n)
	}
	s.ChainID, b = string(b[:n]), b[n:]
	s.Epoch, s.Round, s.Node = binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint32(b[16:])
	b = b[20:]
	if s.Public, err = keys.ParsePublicKey(b[:keys.PublicKeySize]); err != nil {
		return s, nil, err
	}
	return s, b[keys.PublicKeySize:], s.validate()
}

func (s Subject) equal(other Subject) bool {
	return s.ChainID == other.ChainID && s.Epoch == other.Epoch && s.Round == other.Round &&
		s.Node == other.Node && s.Public.Equal(other.Public)
}

func (s Subject) String() string {
	return fmt.Sprintf("node %d, round %d, epoch %d of %s", s.Node, s.Round, s.Epoch, s.ChainID)
}

// Backup is a share in pieces. All of it is public.
type Backup struct {
	Subject
	Commitments keys.Commitments // to the pieces: k of them make the share
	Proof       keys.Proof       // by whoever has the share
	Sealed      [][]byte         // age files: piece i+1, for member i of the committee
}

// Make cuts a share into pieces for the committee, any k of which make it.
// subject.Public must be the share's. Sealing draws from the system's randomness
// beside the reader given.
func Make(random io.Reader, subject Subject, share keys.Share, k int, committee []age.Recipient) (Backup, error) {
	if err := subject.validate(); err != nil {
		return Backup{}, fmt.Errorf("back up a share: %w", err)
	}
	if len(committee) > MaxMembers || k < 1 || k > len(committee) {
		return Backup{}, fmt.Errorf("back up the share of %s: %d of %d members, want 1 to n of at most %d", subject, k, len(committee), MaxMembers)
	}
	if share.Index != subject.Node || !share.Public().Equal(subject.Public) {
		return Backup{}, fmt.Errorf("back up the share of %s: the share is another", subject)
	}
	f, err := keys.PolynomialOf(random, share, k)
	if err != nil {
		return Backup{}, fmt.Errorf("back up the share of %s: %w", subject, err)
	}
	defer f.Wipe()
	b := Backup{Subject: subject, Commitments: f.Commit()}
	for i, recipient := range committee {
		s, err := f.Share(uint32(i + 1))
		if err != nil {
			return Backup{}, fmt.Errorf("back up the share of %s: %w", subject, err)
		}
		piece := Piece{subject, s}
		sealed, err := piece.seal(recipient)
		piece.Wipe()
		s.Wipe()
		if err != nil {
			return Backup{}, err
		}
		b.Sealed = append(b.Sealed, sealed)
	}
	if b.Proof, err = f.Prove(random, b.statement()); err != nil {
		return Backup{}, fmt.Errorf("back up the share of %s: %w", subject, err)
	}
	return b, nil
}

// statement is what the proof is bound to: whose share, and all envelopes.
func (b Backup) statement() []byte {
	h := sha256.New()
	for _, s := range b.Sealed {
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(s))))
		h.Write(s)
	}
	return h.Sum(b.Subject.encode([]byte(labelBackup)))
}

// Check reports a backup that is not of that subject for k of members committee
// members, or that was not made by whoever has the share. It is deterministic.
func (b Backup) Check(subject Subject, k, members int) error {
	switch {
	case !b.Subject.equal(subject):
		return fmt.Errorf("backup is of %s, want %s with its public key", b.Subject, subject)
	case len(b.Commitments) != k || len(b.Sealed) != members:
		return fmt.Errorf("backup of %s: %d of %d pieces, want %d of %d", subject, len(b.Commitments), len(b.Sealed), k, members)
	case !b.Commitments.GroupKey().Equal(subject.Public):
		return fmt.Errorf("backup of %s: its pieces are not of the share", subject)
	}
	if err := keys.VerifyProof(b.Commitments, b.statement(), b.Proof); err != nil {
		return fmt.Errorf("backup of %s: %w", subject, err)
	}
	return nil
}

// backupVersion is the first byte of an encoded backup.
const backupVersion = 1

// MaxBackup bounds an encoded backup, in bytes.
const MaxBackup = 1 + 2 + maxChainID + 8 + 8 + 4 + keys.PublicKeySize + 2 + MaxMembers*(keys.PublicKeySize+4+maxSealedPiece) + keys.ProofSize

// Encode returns the backup's only form: version 1 (one byte), subject (chain id
// behind its uint16 length, epoch and round uint64, node uint32, public key of 96
// bytes), k and number of pieces (one byte each), commitments 2 to k as
// compressed points (the first is the public key), the proof, and every sealed
// piece behind its uint32 length; integers big-endian.
func (b Backup) Encode() []byte {
	out := b.Subject.encode([]byte{backupVersion})
	out = append(out, byte(len(b.Commitments)), byte(len(b.Sealed)))
	out = append(out, b.Commitments[min(1, len(b.Commitments)):].Bytes()...)
	out = append(out, b.Proof[:]...)
	for _, s := range b.Sealed {
		out = binary.BigEndian.AppendUint32(out, uint32(len(s)))
		out = append(out, s...)
	}
	return out
}

// ParseBackup reads what Encode wrote and nothing else.
func ParseBackup(in []byte) (b Backup, err error) {
	if len(in) == 0 || len(in) > MaxBackup || in[0] != backupVersion {
		return b, fmt.Errorf("decode backup: %d bytes, want version %d and at most %d", len(in), backupVersion, MaxBackup)
	}
	subject, rest, err := readSubject(in[1:])
	if err != nil {
		return b, fmt.Errorf("decode backup: %w", err)
	}
	if len(rest) < 2 {
		return b, errors.New("decode backup: the number of pieces is missing")
	}
	k, n := int(rest[0]), int(rest[1])
	if k < 1 || k > n || n > MaxMembers {
		return b, fmt.Errorf("decode backup: %d of %d pieces, want 1 to n of at most %d", k, n, MaxMembers)
	}
	rest = rest[2:]
	points := (k - 1) * keys.PublicKeySize
	if len(rest) < points+keys.ProofSize {
		return b, fmt.Errorf("decode backup: %d bytes for %d commitments and a proof", len(rest), k)
	}
	if b.Commitments, err = keys.ParseCommitments(append(subject.Public.Bytes(), rest[:points]...)); err != nil {
		return Backup{}, fmt.Errorf("decode backup: %w", err)
	}
	b.Subject = subject
	rest = rest[points:]
	rest = rest[copy(b.Proof[:], rest):]
	for i := range n {
		if len(rest) < 4 {
			return Backup{}, fmt.Errorf("decode backup: piece %d is missing", i+1)
		}
		size := binary.BigEndian.Uint32(rest)
		rest = rest[4:]
		if size > maxSealedPiece || int64(size) > int64(min(len(rest), math.MaxInt32)) {
			return Backup{}, fmt.Errorf("decode backup: piece %d has %d bytes of %d", i+1, size, len(rest))
		}
		b.Sealed = append(b.Sealed, bytes.Clone(rest[:size]))
		rest = rest[size:]
	}
	if len(rest) != 0 {
		return Backup{}, fmt.Errorf("decode backup: %d bytes trail the last piece", len(rest))
	}
	return b, nil
}

// ParseRecipients reads the committee: native age recipients in their one
// spelling, "age1pq1…" (ML-KEM-768 and X25519, preferred: backups stay on a chain)
// or "age1…" (X25519), nobody twice, at most MaxMembers.
func ParseRecipients(committee []string) ([]age.Recipient, error) {
	if len(committee) == 0 || len(committee) > MaxMembers {
		return nil, fmt.Errorf("recovery committee has %d members, want 1 to %d", len(committee), MaxMembers)
	}
	seen := make(map[string]bool, len(committee))
	out := make([]age.Recipient, len(committee))
	for i, text := range committee {
		r, err := parseRecipient(text)
		if err != nil { // age's error repeats the text, which may be a private key
			return nil, fmt.Errorf("recovery committee: member %d is no age recipient: want age1… or age1pq1…", i+1)
		}
		if r.String() != text || seen[text] {
			return nil, fmt.Errorf("recovery committee: member %d is there twice, or not in lower case", i+1)
		}
		seen[text] = true
		out[i] = r
	}
	return out, nil
}

type recipient interface {
	age.Recipient
	String() string
}

func parseRecipient(text string) (recipient, error) {
	if strings.HasPrefix(text, "age1pq1") {
		return age.ParseHybridRecipient(text)
	}
	return age.ParseX25519Recipient(text)
}
