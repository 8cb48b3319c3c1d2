package signer

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"slices"

	"github.com/cosmos/cosmos-sdk/crypto/keys/multisig"
	"github.com/cosmos/cosmos-sdk/crypto/keys/secp256k1"
	cryptotypes "github.com/cosmos/cosmos-sdk/crypto/types"
	"github.com/cosmos/cosmos-sdk/types/bech32"

	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
)

// MaxMultisig is how many keys the chain verifies for one signature.
const MaxMultisig = 7

// Public is an account that several keys sign for, or one: its address with what
// it follows from. There is no secret in it.
type Public struct {
	Address   string   `json:"address"`
	Threshold int      `json:"threshold,omitempty"`
	Keys      []string `json:"public_keys"` // hex of compressed secp256k1 points; of several, in the order of their addresses
}

// Public returns the account without its secret.
func (a Account) Public() Public {
	return Public{Address: a.Address, Keys: []string{hex.EncodeToString(a.key.PubKey().Bytes())}}
}

// NewMultisig makes the account for which threshold of the keys sign. The order
// in which they are given does not matter.
func NewMultisig(threshold int, keys []string) (Public, error) {
	if len(keys) < 1 || len(keys) > MaxMultisig || threshold < 1 || threshold > len(keys) {
		return Public{}, fmt.Errorf("make a multisig key: %d of %d, want 1 to %d keys and no higher threshold", threshold, len(keys), MaxMultisig)
	}
	parsed := make([]cryptotypes.PubKey, len(keys))
	for i, k := range keys {
		var err error
		if parsed[i], err = parseKey(k); err != nil {
			return Public{}, err
		}
	}
	slices.SortFunc(parsed, func(a, b cryptotypes.PubKey) int { return bytes.Compare(a.Address(), b.Address()) })
	p := Public{Threshold: threshold}
	for i, k := range parsed {
		if i > 0 && k.Equals(parsed[i-1]) {
			return Public{}, fmt.Errorf("make a multisig key: %x is there twice", k.Bytes())
		}
		p.Keys = append(p.Keys, hex.EncodeToString(k.Bytes()))
	}
	var err error
	p.Address, err = bech32.ConvertAndEncode(types.Bech32Prefix, multisig.NewLegacyAminoPubKey(threshold, parsed).Address())
	return p, err
}

// LoadPublic reads an account from a file: one that Save wrote, of which the
// secret is left out, or one of a Public.
func LoadPublic(path string) (Public, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return Public{}, fmt.Errorf("read account: %w", err)
	}
	var p Public
	if err := json.Unmarshal(b, &p); err != nil || p.Address == "" {
		return p, fmt.Errorf("%s holds no account", path) // the cause could quote a key
	}
	if len(p.Keys) == 0 {
		a, err := Load(path)
		return a.Public(), err
	}
	return p, p.check()
}

// check holds the address to the keys.
func (p Public) check() error {
	k, err := p.key()
	if err != nil {
		return err
	}
	if want, err := bech32.ConvertAndEncode(types.Bech32Prefix, k.Address()); err != nil || want != p.Address {
		return fmt.Errorf("the keys are of account %s, not %s", want, p.Address)
	}
	return nil
}

// key is the account's key as transactions name it.
func (p Public) key() (cryptotypes.PubKey, error) {
	if p.Threshold == 0 {
		if len(p.Keys) != 1 {
			return nil, fmt.Errorf("account %s has %d keys and no threshold", p.Address, len(p.Keys))
		}
		return parseKey(p.Keys[0])
	}
	if p.Threshold < 0 || p.Threshold > len(p.Keys) || len(p.Keys) > MaxMultisig {
		return nil, fmt.Errorf("account %s: %d of %d keys", p.Address, p.Threshold, len(p.Keys))
	}
	parsed := make([]cryptotypes.PubKey, len(p.Keys))
	for i, k := range p.Keys {
		var err error
		if parsed[i], err = parseKey(k); err != nil {
			return nil, err
		}
	}
	return multisig.NewLegacyAminoPubKey(p.Threshold, parsed), nil
}

// parseKey reads a public key. That its point lies on the curve is found out by
// the first signature.
func parseKey(s string) (*secp256k1.PubKey, error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != secp256k1.PubKeySize || b[0] != 2 && b[0] != 3 {
		return nil, fmt.Errorf("%.80q is no public key: want %d hex digits", s, 2*secp256k1.PubKeySize)
	}
	return &secp256k1.PubKey{Key: b}, nil
}
