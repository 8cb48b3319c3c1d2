package ipc

import (
	"fmt"
	"io"
	"log/slog"
)

// Secret is what must not be seen on its way from one process of the machine to
// another. It prints as "redacted"; only its JSON, which the socket between the two
// carries, holds it.
type Secret []byte

// String hides the secret.
func (Secret) String() string { return "redacted" }

// Format prints "redacted" whatever the verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "redacted") }

// LogValue is "redacted".
func (Secret) LogValue() slog.Value { return slog.StringValue("redacted") }
