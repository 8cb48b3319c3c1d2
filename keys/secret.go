package keys

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
)

// SecretSize is the size of every derived key, in bytes.
const SecretSize = 32

// Secret is a derived key of 32 bytes. It prints as "redacted" in every way
// that fmt, log/slog and encoding/json know; Bytes reveals it.
type Secret struct{ b [SecretSize]byte }

// Derive returns HKDF-SHA-256(σ, salt = P, info = canonical ID): σ as its
// 48-byte compressed point, P as its 96 bytes. Verify σ first (VerifyKey).
func Derive(group PublicKey, id ID, sigma Signature) (Secret, error) {
	var s Secret
	point := sigma.point.Bytes()
	defer clear(point[:])
	key, err := hkdf.Key(sha256.New, point[:], group.Bytes(), string(id.Encode()), SecretSize)
	if err != nil {
		return s, fmt.Errorf("derive key %s: %w", id, err)
	}
	copy(s.b[:], key)
	clear(key)
	return s, nil
}

// Bytes reveals a copy of the key.
func (s Secret) Bytes() []byte { return append([]byte(nil), s.b[:]...) }

// Wipe overwrites the key in place. Copies made before are the caller's.
func (s *Secret) Wipe() { clear(s.b[:]) }

// IsZero reports whether there is no key: never derived, or wiped.
func (s Secret) IsZero() bool { return s.b == [SecretSize]byte{} }

// String hides the key.
func (s Secret) String() string { return redacted }

// Format prints "redacted" whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue is "redacted".
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON writes "redacted".
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(redacted) }

// MarshalText writes "redacted".
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
