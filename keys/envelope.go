package keys

import (
	"crypto/hpke"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// The suite of every envelope: HPKE (RFC 9180) in base mode with the hybrid of
// ML-KEM-768 and X25519 (X-Wing), HKDF-SHA-256 and AES-256-GCM, so that an
// answer recorded today stays closed to a quantum computer of tomorrow.
var (
	kem  = hpke.MLKEM768X25519
	kdf  = hpke.HKDFSHA256
	aead = hpke.AES256GCM
)

// RecipientKeySize is the size of a recipient's public key, in bytes: 1184 of
// ML-KEM-768 and 32 of X25519.
const RecipientKeySize = 1184 + 32

// RecipientSeedSize is the size of a recipient's private key, in bytes.
const RecipientSeedSize = 32

// EnvelopeOverhead is how much longer an envelope is than what it holds, in
// bytes: the encapsulated key (1088 of ML-KEM-768 and 32 of X25519) and the tag.
const EnvelopeOverhead = 1088 + 32 + 16

// MaxEnvelope bounds what Open decrypts, in bytes.
const MaxEnvelope = 64 << 10

// Recipient is a key pair: of a machine, in memory for one release, or of a node,
// for the rounds in which it gets shares. It prints as "redacted".
type Recipient struct{ private hpke.PrivateKey }

// NewRecipient draws a key pair from the system's randomness.
func NewRecipient() (*Recipient, error) {
	k, err := kem().GenerateKey()
	if err != nil {
		return nil, fmt.Errorf("make an HPKE key pair: %w", err)
	}
	return &Recipient{k}, nil
}

// Public returns the public key that a quote binds and that Seal wants.
func (r *Recipient) Public() []byte { return r.private.PublicKey().Bytes() }

// Bytes reveals the private key, RecipientSeedSize bytes, for a node's own
// protected storage: a node must still open what was sealed before it restarted.
func (r *Recipient) Bytes() ([]byte, error) {
	b, err := r.private.Bytes()
	if err != nil {
		return nil, fmt.Errorf("encode an HPKE private key: %w", err)
	}
	return b, nil
}

// ParseRecipient reads what Bytes wrote.
func ParseRecipient(b []byte) (*Recipient, error) {
	if len(b) != RecipientSeedSize {
		return nil, fmt.Errorf("HPKE private key has %d bytes, want %d", len(b), RecipientSeedSize)
	}
	k, err := kem().NewPrivateKey(b)
	if err != nil {
		return nil, fmt.Errorf("HPKE private key: %w", err)
	}
	return &Recipient{k}, nil
}

// Open decrypts an envelope that was sealed to r with the same info.
func (r *Recipient) Open(info, sealed []byte) ([]byte, error) {
	if len(sealed) > MaxEnvelope {
		return nil, fmt.Errorf("open envelope: %d bytes, want at most %d", len(sealed), MaxEnvelope)
	}
	plain, err := hpke.Open(r.private, kdf(), aead(), info, sealed)
	if err != nil {
		return nil, fmt.Errorf("open envelope: %w", err)
	}
	return plain, nil
}

// mlkemModulus is q of FIPS 203; polynomials is how many bytes of a key hold
// coefficients, three bytes for two of them.
const (
	mlkemModulus = 3329
	polynomials  = 1184 - 32
)

// CheckRecipientKey reports an error unless b is the public key of a recipient:
// of ML-KEM the check that FIPS 203, 7.2 prescribes, by which all coefficients
// are below the modulus; of X25519 any 32 bytes. It says what parsing the key
// would say, in a fiftieth of the time.
func CheckRecipientKey(b []byte) error {
	if len(b) != RecipientKeySize {
		return fmt.Errorf("HPKE public key has %d bytes, want %d", len(b), RecipientKeySize)
	}
	for i := 0; i < polynomials; i += 3 {
		x, y := uint16(b[i])|uint16(b[i+1]&0xf)<<8, uint16(b[i+1])>>4|uint16(b[i+2])<<4
		if x >= mlkemModulus || y >= mlkemModulus {
			return errors.New("HPKE public key: a coefficient of its ML-KEM part is not below the modulus")
		}
	}
	return nil
}

// Seal encrypts plain to a recipient's public key; info is authenticated and
// must be the same at Open. The result is the encapsulated key and ciphertext.
func Seal(public, info, plain []byte) ([]byte, error) {
	k, err := kem().NewPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("seal envelope: %w", err)
	}
	sealed, err := hpke.Seal(k, kdf(), aead(), info, plain)
	if err != nil {
		return nil, fmt.Errorf("seal envelope: %w", err)
	}
	return sealed, nil
}

// PartialInfo is the info of the envelope in which a node answers: it ties the
// answer to one grant, one node and the keys asked for, in order. It also holds
// the disk generation that the node reads in its own ledger: a machine that
// opens t envelopes with right partials knows that an honest node sees the same
// generation, so that fewer than t nodes cannot hide a rollback.
func PartialInfo(grant []byte, generation uint64, index uint32, ids []ID) []byte {
	parts := [][]byte{
		[]byte(labelPartial), grant, binary.BigEndian.AppendUint64(nil, generation),
		binary.BigEndian.AppendUint32(nil, index),
	}
	for _, id := range ids {
		parts = append(parts, id.Encode())
	}
	return join(parts...)
}

// String hides the key pair.
func (r *Recipient) String() string { return redacted }

// Format prints "redacted" whatever the verb.
func (r *Recipient) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue is "redacted".
func (r *Recipient) LogValue() slog.Value { return slog.StringValue(redacted) }
