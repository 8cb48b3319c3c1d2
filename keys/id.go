package keys

import (
	"encoding/binary"
	"fmt"
	"strings"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"

	"github.com/secretvm/secretvm/vm"
)

// ScopeService is the scope of keys that every instance of a service shares.
const ScopeService = "service"

// instanceScope is the prefix of scopes of one instance's own keys.
const instanceScope = "instance:"

// MaxIDPart bounds each textual part of an ID, in bytes.
const MaxIDPart = 256

// dst is the domain separation tag of the hash to G1 (RFC 9380, 3.1), which
// ends, as 8.10 recommends, with the name of the suite.
const dst = "secretvm/v1/key:BLS12381G1_XMD:SHA-256_SSWU_RO_"

// ID names one key. Two different IDs have unrelated keys; the same ID has the
// same key for as long as the group's secret lives.
type ID struct {
	Service string `json:"service"` // "<owner address>/<name>"
	Scope   string `json:"scope"`   // "service" or "instance:<vm_uid>"
	Name    string `json:"name"`    // disk, env, registry, sign/ed25519, sign/secp256k1, tls, app/<path>
	Epoch   uint64 `json:"epoch"`   // of the group key; 0 is the first
}

var (
	servicePattern = vm.Pattern(`^[a-z0-9]{1,90}/[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$`)
	scopePattern   = vm.Pattern(`^(?:service|instance:[0-9a-f]{32})$`)
	namePattern    = vm.Pattern(`^(?:disk|env|registry|tls|sign/ed25519|sign/secp256k1|app/[a-zA-Z0-9._-]{1,64}(?:/[a-zA-Z0-9._-]{1,64}){0,2})$`)
)

// InstanceScope returns the scope of the keys of one machine.
func InstanceScope(instanceID string) string { return instanceScope + instanceID }

// Disk is the ID of the key of a machine's data disk, under the first epoch.
func Disk(service, instanceID string) ID {
	return ID{Service: service, Scope: InstanceScope(instanceID), Name: "disk"}
}

// In is the same ID under the group key of another epoch: an unrelated key.
func (id ID) In(epoch uint64) ID {
	id.Epoch = epoch
	return id
}

// Instance returns the instance of an instance scope, or "" for the scope of
// the whole service.
func (id ID) Instance() string {
	uid, ok := strings.CutPrefix(id.Scope, instanceScope)
	if !ok {
		return ""
	}
	return uid
}

// Validate reports the first part that names nothing.
func (id ID) Validate() error {
	switch {
	case !servicePattern(id.Service):
		return fmt.Errorf("key id: service is %q, want <owner>/<name> in lower case", id.Service)
	case !scopePattern(id.Scope):
		return fmt.Errorf("key id: scope is %q, want service or instance:<32 hex digits>", id.Scope)
	case !namePattern(id.Name):
		return fmt.Errorf("key id: name is %q, want disk, env, registry, tls, sign/ed25519, sign/secp256k1 or app/<path>", id.Name)
	}
	return nil
}

// Encode returns the canonical form that is hashed to the curve: label,
// service, scope and name, each behind its length as a big-endian uint32, then
// the epoch as a big-endian uint64 behind its length.
func (id ID) Encode() []byte {
	return join([]byte(labelKey), []byte(id.Service), []byte(id.Scope), []byte(id.Name),
		binary.BigEndian.AppendUint64(nil, id.Epoch))
}

// ParseID reads the canonical form of a valid ID, and nothing else.
func ParseID(b []byte) (ID, error) {
	parts, err := split(b, 5, MaxIDPart)
	if err != nil {
		return ID{}, fmt.Errorf("decode key id: %w", err)
	}
	if string(parts[0]) != labelKey || len(parts[4]) != 8 {
		return ID{}, fmt.Errorf("decode key id: want the label %s and an epoch of 8 bytes", labelKey)
	}
	id := ID{
		Service: string(parts[1]), Scope: string(parts[2]), Name: string(parts[3]),
		Epoch: binary.BigEndian.Uint64(parts[4]),
	}
	return id, id.Validate()
}

func (id ID) String() string {
	return fmt.Sprintf("%s %s %s epoch %d", id.Service, id.Scope, id.Name, id.Epoch)
}

// point is H(ID), the ID hashed to G1 by suite BLS12381G1_XMD:SHA-256_SSWU_RO_
// of RFC 9380, 8.8.1. Nobody knows its discrete logarithm.
func (id ID) point() (bls.G1Affine, error) {
	p, err := bls.HashToG1(id.Encode(), []byte(dst))
	if err != nil {
		return p, fmt.Errorf("hash key id to the curve: %w", err)
	}
	return p, nil
}
