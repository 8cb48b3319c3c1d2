package guestapi

import (
	"fmt"
	"io"
)

const redacted = "redacted"

// Secret is a key. It prints as "redacted"; Bytes reveals it.
type Secret struct{ b []byte }

// Bytes reveals a copy of the key.
func (s Secret) Bytes() []byte { return append([]byte(nil), s.b...) }

// Wipe overwrites the key in place. Copies made before are the caller's.
func (s Secret) Wipe() { clear(s.b) }

// String hides the key.
func (s Secret) String() string { return redacted }

// Format prints "redacted" whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalText writes "redacted".
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
