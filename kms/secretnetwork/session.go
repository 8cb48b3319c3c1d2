package secretnetwork

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"

	"github.com/secretvm/secretvm/vm"
)

// DiskKey is the key of this machine's disk: HKDF-SHA-256 of the service's
// secret, info the digest of label, service and instance.
func (s *Session) DiskKey() [32]byte { return s.disk }

// Environment returns the variables that the service's administrator keeps on
// the contract, one JSON object of strings; nil: none.
func (s *Session) Environment() (vm.Environment, error) {
	if len(s.env) == 0 {
		return nil, nil
	}
	return vm.ParseEnvironment(s.env)
}

// Registry is always nil: the contract encrypts logins to a key that the host can
// derive, so no machine of ours asks for them.
func (s *Session) Registry() ([]byte, error) { return nil, nil }

// Generation is always 0: the contract counts none, and nobody notices that a
// disk was put back.
func (s *Session) Generation() uint64 { return 0 }

// Advance does nothing, for the same reason.
func (s *Session) Advance(context.Context, uint64) error { return nil }

// Suspects names nodes whose answers no enclave of the network had made.
func (s *Session) Suspects() []string { return slices.Clone(s.suspects) }

// Close wipes the keys.
func (s *Session) Close() {
	clear(s.secret)
	clear(s.disk[:])
	clear(s.env)
}

// String hides the session.
func (s *Session) String() string { return "redacted" }

// Format prints "redacted" whatever the verb.
func (s *Session) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "redacted") }

// LogValue is "redacted".
func (s *Session) LogValue() slog.Value { return slog.StringValue("redacted") }
