package recovery

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"

	"filippo.io/age"

	"github.com/secretvm/secretvm/keys"
)

// Piece is one piece of a share: a point of a polynomial whose value at zero is
// the share. It prints as "redacted".
type Piece struct {
	subject Subject
	share   keys.Share // Index is the piece's number, from 1
}

// Subject says whose share the piece is of.
func (p Piece) Subject() Subject { return p.subject }

// Number is the piece's, from 1: the place of its owner in the committee.
func (p Piece) Number() uint32 { return p.share.Index }

// Wipe overwrites the piece in place.
func (p *Piece) Wipe() { p.share.Wipe() }

// seal encrypts the piece, and what it is of, to its owner. The plaintext is a
// label, the subject, the number as a big-endian uint32 and 32 bytes.
func (p Piece) seal(to age.Recipient) ([]byte, error) {
	secret := p.share.Bytes()
	plain := p.subject.encode([]byte(labelPiece))
	plain = binary.BigEndian.AppendUint32(plain, p.share.Index)
	plain = append(slices.Grow(plain, len(secret)), secret...)
	defer clear(plain)
	clear(secret)
	var out bytes.Buffer
	w, err := age.Encrypt(&out, to)
	if err == nil {
		_, err = w.Write(plain)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("seal piece %d of %s: %w", p.share.Index, p.subject, err)
	}
	if out.Len() > maxSealedPiece {
		return nil, fmt.Errorf("seal piece %d of %s: %d bytes, want at most %d", p.share.Index, p.subject, out.Len(), maxSealedPiece)
	}
	return out.Bytes(), nil
}

// readPiece opens what seal wrote. It does not know whether the piece is right.
func readPiece(sealed []byte, identities ...age.Identity) (Piece, error) {
	if len(sealed) > maxSealedPiece {
		return Piece{}, fmt.Errorf("open piece: %d bytes, want at most %d", len(sealed), maxSealedPiece)
	}
	r, err := age.Decrypt(bytes.NewReader(sealed), identities...)
	if err != nil {
		return Piece{}, fmt.Errorf("open piece: %w", err)
	}
	plain, err := io.ReadAll(r)
	defer clear(plain)
	if err != nil {
		return Piece{}, fmt.Errorf("open piece: %w", err)
	}
	p, err := parsePiece(plain)
	if err != nil {
		return Piece{}, fmt.Errorf("decode piece: %w", err)
	}
	return p, nil
}

func parsePiece(plain []byte) (Piece, error) {
	rest, ok := bytes.CutPrefix(plain, []byte(labelPiece))
	if !ok {
		return Piece{}, fmt.Errorf("it does not begin with %s", labelPiece)
	}
	subject, rest, err := readSubject(rest)
	if err != nil {
		return Piece{}, err
	}
	if len(rest) != 4+keys.ScalarSize {
		return Piece{}, fmt.Errorf("%d bytes follow the subject, want %d", len(rest), 4+keys.ScalarSize)
	}
	share, err := keys.ParseShare(binary.BigEndian.Uint32(rest), rest[4:])
	if err != nil {
		return Piece{}, err
	}
	return Piece{subject, share}, nil
}

// check reports a piece that is not one of this backup. The error names it.
func (b Backup) check(p Piece) error {
	if !p.subject.equal(b.Subject) {
		return fmt.Errorf("piece %d is of %s, want %s", p.Number(), p.subject, b.Subject)
	}
	if int(p.Number()) > len(b.Sealed) {
		return fmt.Errorf("piece %d of %s: there are only %d", p.Number(), b.Subject, len(b.Sealed))
	}
	if err := b.Commitments.Verify(p.share); err != nil {
		return fmt.Errorf("piece %d of %s is wrong: %w", p.Number(), b.Subject, err)
	}
	return nil
}

// ErrNotYours is why Open returns nothing: no piece is for the identities given.
var ErrNotYours = errors.New("no piece is sealed to this identity")

// Open opens the pieces that are sealed to the identities, usually one, and
// checks each against the commitments. An error beside pieces, or instead of
// them, says which envelope its node filled wrongly.
func (b Backup) Open(identities ...age.Identity) ([]Piece, error) {
	var pieces []Piece
	var wrong error
	for i, sealed := range b.Sealed {
		p, err := readPiece(sealed, identities...)
		var mismatch *age.NoIdentityMatchError
		if errors.As(err, &mismatch) {
			continue
		}
		if err == nil {
			err = b.check(p)
		}
		if err == nil && p.Number() != uint32(i+1) {
			err = fmt.Errorf("it holds piece %d", p.Number())
		}
		if err != nil {
			p.Wipe()
			wrong = errors.Join(wrong, fmt.Errorf("open envelope %d of the backup of %s: %w", i+1, b.Subject, err))
			continue
		}
		pieces = append(pieces, p)
	}
	if len(pieces) == 0 && wrong == nil {
		return nil, fmt.Errorf("backup of %s: %w", b.Subject, ErrNotYours)
	}
	return pieces, wrong
}

// String hides the piece.
func (p Piece) String() string { return redacted }

// Format prints "redacted" whatever the verb.
func (p Piece) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue is "redacted".
func (p Piece) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText writes "redacted": a piece is written in a backup only, sealed.
func (p Piece) MarshalText() ([]byte, error) { return []byte(redacted), nil }

const redacted = "redacted"
