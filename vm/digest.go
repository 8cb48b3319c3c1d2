package vm

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
)

// Hash is a SHA-256 digest. Its text and JSON form is 64 lower-case hex digits.
type Hash [32]byte

// Register is a 48-byte measurement register or SHA-384 digest (MRTD, RTMRn,
// MR_CONFIG_ID). Its text and JSON form is 96 lower-case hex digits.
type Register [48]byte

// HashOf returns the SHA-256 of b.
func HashOf(b []byte) Hash { return sha256.Sum256(b) }

// ParseHash reads 64 lower-case hex digits.
func ParseHash(s string) (h Hash, err error) {
	err = h.UnmarshalText([]byte(s))
	return h, err
}

// ParseRegister reads 96 lower-case hex digits.
func ParseRegister(s string) (r Register, err error) {
	err = r.UnmarshalText([]byte(s))
	return r, err
}

func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// IsZero reports whether every byte is zero, which no real digest is.
func (h Hash) IsZero() bool { return h == Hash{} }

// MarshalText writes lower-case hex.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads exactly 64 lower-case hex digits.
func (h *Hash) UnmarshalText(b []byte) error { return decodeHex("SHA-256 digest", h[:], b) }

func (r Register) String() string { return hex.EncodeToString(r[:]) }

// IsZero reports whether every byte is zero: a register nothing was extended into.
func (r Register) IsZero() bool { return r == Register{} }

// Extend returns SHA-384(r ‖ digest), the extend operation of TDX RTMRs
// (Intel TDX Module Base Architecture Specification, 12.2.2).
func (r Register) Extend(digest Register) Register {
	return sha512.Sum384(append(r[:], digest[:]...))
}

// MarshalText writes lower-case hex.
func (r Register) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads exactly 96 lower-case hex digits.
func (r *Register) UnmarshalText(b []byte) error { return decodeHex("register", r[:], b) }

// Hex16 is 16 bytes that identify something. Its text and JSON form is 32
// lower-case hex digits.
type Hex16 [16]byte

func (h Hex16) String() string { return hex.EncodeToString(h[:]) }

// MarshalText writes lower-case hex.
func (h Hex16) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads exactly 32 lower-case hex digits.
func (h *Hex16) UnmarshalText(b []byte) error { return decodeHex("identifier", h[:], b) }

// decodeHex is strict about length and case, so that a value has one spelling.
func decodeHex(what string, dst, src []byte) error {
	if len(src) != 2*len(dst) {
		return fmt.Errorf("%s has %d characters, want %d hex digits", what, len(src), 2*len(dst))
	}
	for _, c := range src {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return fmt.Errorf("%s has %q, want lower-case hex digits only", what, c)
		}
	}
	_, err := hex.Decode(dst, src)
	return err
}
