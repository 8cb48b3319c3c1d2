package collateral

import (
	"encoding/hex"
	"fmt"

	"github.com/secretvm/secretvm/vm"
)

// Names of the inner objects.
const (
	KeyTCBInfo    = "tcbInfo"
	KeyQEIdentity = "enclaveIdentity"

	keySignature = "signature"
)

// Open splits an envelope {"<key>":{…},"signature":"<128 hex digits>"} into
// the signed bytes and the signature r ‖ s.
func Open(key string, envelope []byte) (inner []byte, signature [64]byte, err error) {
	if len(envelope) == 0 {
		return nil, signature, vm.Refuse(vm.CodeCollateral, "%s is missing", key)
	}
	wrong := func(format string, args ...any) ([]byte, [64]byte, error) {
		return nil, [64]byte{}, vm.Refuse(vm.CodeMalformed, "%s envelope: "+format, append([]any{key}, args...)...)
	}
	r := newText(envelope)
	var digits []byte
	for g := r.object(); r.more(&g); {
		switch name := r.name(&g); {
		case string(name) == key:
			inner = r.extent() // whoever parses it is strict about what is inside
		case string(name) == keySignature:
			digits = r.quoted()
		default:
			r.fail("%.40q, want only %q and %q", name, key, keySignature)
		}
	}
	switch err := r.end(); {
	case err != nil:
		return wrong("%v", err)
	case inner == nil || digits == nil:
		return wrong("it lacks %q or %q", key, keySignature)
	case len(digits) != 2*len(signature):
		return wrong("signature has %d characters, want %d hex digits", len(digits), 2*len(signature))
	}
	if _, err := hex.Decode(signature[:], digits); err != nil {
		return wrong("signature is not hexadecimal")
	}
	return inner, signature, nil
}

// Seal is the inverse of Open.
func Seal(key string, inner []byte, signature [64]byte) []byte {
	return fmt.Appendf(nil, `{"%s":%s,"%s":"%x"}`, key, inner, keySignature, signature)
}

// Hex is a byte string that JSON shows in hexadecimal. Either case is read
// (Intel's services differ); upper case is written, as the PCS does.
type Hex []byte

// MarshalText writes upper-case hexadecimal.
func (h Hex) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%X", []byte(h)), nil }

// UnmarshalText reads hexadecimal of either case.
func (h *Hex) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	if err != nil {
		return fmt.Errorf("decode hexadecimal: %w", err)
	}
	*h = b
	return nil
}

func (h Hex) String() string { return fmt.Sprintf("%X", []byte(h)) }
