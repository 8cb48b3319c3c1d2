package vm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// MaxConfigSize bounds the canonical form of a Config, in bytes.
const MaxConfigSize = 64 << 10

// Config is the one measured document of a machine: its SHA-256 is bound at
// launch (MR_CONFIG_ID, HOST_DATA) and at boot (RTMR3 event config-hash).
// Whatever a host passes that is not in it is untrusted.
type Config struct {
	Version     int      `json:"version"`              // 1
	ComposeHash Hash     `json:"compose_hash"`         // SHA-256 of the raw compose file
	FilesHash   *Hash    `json:"files_hash,omitempty"` // SHA-256 of the files archive, if there is one
	Service     string   `json:"service"`              // KMS service id, "<owner address>/<name>"
	KMS         KMS      `json:"kms"`
	InstanceID  string   `json:"instance_id"` // vm_uid: 32 lower-case hex digits
	Disk        Disk     `json:"disk"`
	TLS         string   `json:"tls"`                  // "self": a key per boot, bound in every quote; "acme": certificates of an authority too
	ACME        *ACME    `json:"acme,omitempty"`       // with TLS "acme"
	Open        []string `json:"open"`                 // endpoints that strangers may read, sorted
	Tokens      []Hash   `json:"tokens,omitempty"`     // SHA-256 of the tokens that open all endpoints, sorted
	Images      string   `json:"images"`               // "digest" or "tag"
	GPU         string   `json:"gpu"`                  // "none" or "attest"
	Egress      []string `json:"egress,omitempty"`     // where containers may send to, sorted (Destination), or EgressNone; empty: anywhere
	Env         []string `json:"env,omitempty"`        // variables that the service's owner may set through the KMS, sorted
	API         API      `json:"api,omitempty"`        // what containers may ask the machine itself
	Pins        Pins     `json:"pins,omitempty"`       // digests of images that the compose file names without one
	Privileged  []string `json:"privileged,omitempty"` // services that are given the machine itself if they ask, sorted
	Profiles    []string `json:"profiles,omitempty"`   // of the compose file, that are started too, sorted
	Dev         bool     `json:"dev,omitempty"`        // an image for development, which boots with no other config
	Time        []string `json:"time,omitempty"`       // servers that correct the clock within the bounds of the key manager's blocks, sorted
}

// Disk says how the workload's data is stored.
type Disk struct {
	Ephemeral bool `json:"ephemeral"` // key drawn at boot, data lost at shutdown
	Integrity bool `json:"integrity"` // dm-integrity below LUKS2
}

// What Config.GPU may say.
const (
	GPUNone   = "none"
	GPUAttest = "attest" // no keys, and no work for GPUs, before all of them have proved themselves
)

// The endpoints that Config.Open may name.
var Endpoints = []string{"compose", "logs", "metrics", "resources", "services"}

// MaxTokens bounds Config.Tokens.
const MaxTokens = 16

var (
	instancePattern = Pattern(`^[0-9a-f]{32}$`)
	servicePattern  = Pattern(`^[a-z0-9]{1,90}/[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$`)
	chainPattern    = Pattern(`^[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}$`)
)

// Canonical returns the bytes that are digested: JSON with the fields in the
// order of the struct, no white space, no HTML escaping. ParseConfig accepts
// nothing but these bytes.
func (c Config) Canonical() ([]byte, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.Open == nil {
		c.Open = []string{}
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(c); err != nil {
		return nil, fmt.Errorf("encode VM config: %w", err)
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

// Digest returns the SHA-256 of the canonical form.
func (c Config) Digest() (Hash, error) {
	b, err := c.Canonical()
	if err != nil {
		return Hash{}, err
	}
	return HashOf(b), nil
}

// ConfigID returns MR_CONFIG_ID for c: its digest, zero-padded to 48 bytes.
func (c Config) ConfigID() (Register, error) {
	var r Register
	d, err := c.Digest()
	copy(r[:], d[:])
	return r, err
}

// ParseConfig reads a canonical Config. Unknown fields, another order, white
// space and trailing bytes are errors: one config has one digest.
func ParseConfig(b []byte) (Config, error) {
	var c Config
	if len(b) > MaxConfigSize {
		return c, fmt.Errorf("VM config has %d bytes, want at most %d", len(b), MaxConfigSize)
	}
	if err := DecodeStrict(b, &c); err != nil {
		return c, fmt.Errorf("decode VM config: %w", err)
	}
	canonical, err := c.Canonical()
	if err != nil {
		return c, err
	}
	if !bytes.Equal(canonical, b) {
		return c, errors.New("VM config is not in canonical form")
	}
	return c, nil
}

// Validate reports the first field that has no meaning.
func (c Config) Validate() error {
	switch {
	case c.Version != 1:
		return fmt.Errorf("VM config: version is %d, want 1", c.Version)
	case c.ComposeHash.IsZero():
		return errors.New("VM config: compose_hash is missing")
	case !servicePattern(c.Service):
		return fmt.Errorf("VM config: service is %q, want <owner>/<name> in lower case", c.Service)
	case !instancePattern(c.InstanceID):
		return fmt.Errorf("VM config: instance_id is %q, want 32 lower-case hex digits", c.InstanceID)
	case c.TLS != "self" && c.TLS != "acme" || (c.TLS == "acme") != (c.ACME != nil):
		return fmt.Errorf("VM config: tls is %q, want self, or acme and what belongs to it", c.TLS)
	case c.Images != "digest" && c.Images != "tag":
		return fmt.Errorf("VM config: images is %q, want digest or tag", c.Images)
	case c.GPU != GPUNone && c.GPU != GPUAttest:
		return fmt.Errorf("VM config: gpu is %q, want none or attest", c.GPU)
	case !slices.IsSorted(c.Open) || len(slices.Compact(slices.Clone(c.Open))) != len(c.Open):
		return fmt.Errorf("VM config: open is %q, want a sorted list without repetition", c.Open)
	}
	if len(c.Tokens) > MaxTokens {
		return fmt.Errorf("VM config: %d tokens, want at most %d", len(c.Tokens), MaxTokens)
	}
	for i, t := range c.Tokens {
		if t.IsZero() || i > 0 && bytes.Compare(c.Tokens[i-1][:], t[:]) >= 0 {
			return fmt.Errorf("VM config: tokens is %q, want SHA-256 digests, sorted, without repetition", c.Tokens)
		}
	}
	for _, name := range c.Open {
		if !slices.Contains(Endpoints, name) {
			return fmt.Errorf("VM config: open names %q, want some of %q", name, Endpoints)
		}
	}
	if err := c.ACME.validate(); err != nil {
		return fmt.Errorf("VM config: %w", err)
	}
	if err := validateTime(c.Time); err != nil {
		return fmt.Errorf("VM config: %w", err)
	}
	if err := validateEnv(c.Env); err != nil {
		return fmt.Errorf("VM config: %w", err)
	}
	if err := c.validateWorkload(); err != nil {
		return fmt.Errorf("VM config: %w", err)
	}
	if err := c.API.validate(c.KMS); err != nil {
		return fmt.Errorf("VM config: %w", err)
	}
	if err := c.KMS.Validate(c.Service); err != nil {
		return fmt.Errorf("VM config: %w", err)
	}
	return nil
}

// NoInstance is the instance id of a template.
const NoInstance = "00000000000000000000000000000000"

// Template returns c with the instance id blanked. An owner registers the
// registers of the template once; the KMS derives from it what each instance
// must have measured, so that no register is ever a wildcard.
func (c Config) Template() Config {
	c.InstanceID = NoInstance
	return c
}
