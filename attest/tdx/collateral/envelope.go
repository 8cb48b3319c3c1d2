package collateral

import (
	"encoding/hex"
	"encoding/json"
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
	// A map keeps the keys case-sensitive and the inner bytes as they are.
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(envelope, &fields); err != nil {
		return nil, signature, vm.Refuse(vm.CodeMalformed, "%s envelope: %v", key, err)
	}
	var text string
	inner = fields[key]
	if len(fields) != 2 || inner == nil || json.Unmarshal(fields[keySignature], &text) != nil {
		return nil, signature, vm.Refuse(vm.CodeMalformed, "%s envelope holds something else than %q and %q", key, key, keySignature)
	}
	if len(text) != 2*len(signature) {
		return nil, signature, vm.Refuse(vm.CodeMalformed, "%s envelope: signature has %d characters, want %d hex digits", key, len(text), 2*len(signature))
	}
	if _, err := hex.Decode(signature[:], []byte(text)); err != nil {
		return nil, signature, vm.Refuse(vm.CodeMalformed, "%s envelope: signature is not hexadecimal", key)
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
