// Package signer holds the keys of chain accounts in files of their owner's
// machine, and signs transactions with them.
//
// A key file is JSON, readable by its user only and not encrypted: it is for
// development and for relays, whose key can do nothing but relay. Owners of
// production services sign elsewhere and post the transaction.
package signer

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/cosmos/cosmos-sdk/crypto/keys/secp256k1"
	"github.com/cosmos/cosmos-sdk/types/bech32"

	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
)

// Account is an account's key pair. It prints as its address.
type Account struct {
	Address string // bech32
	key     *secp256k1.PrivKey
}

// file is the format of a key file.
type file struct {
	Address string `json:"address"`
	Secret  string `json:"secret"` // hex of the 32-byte secp256k1 key
}

// New draws a key pair from the system's randomness.
func New() (Account, error) { return fromKey(secp256k1.GenPrivKey()) }

func fromKey(key *secp256k1.PrivKey) (Account, error) {
	address, err := bech32.ConvertAndEncode(types.Bech32Prefix, key.PubKey().Address())
	if err != nil {
		return Account{}, fmt.Errorf("address of a key: %w", err)
	}
	return Account{Address: address, key: key}, nil
}

// Save writes the key file, mode 0600, whole or not at all.
func (a Account) Save(path string) error {
	b, err := json.Marshal(file{a.Address, hex.EncodeToString(a.key.Key)})
	if err != nil {
		return fmt.Errorf("encode key file: %w", err)
	}
	return WriteFile(path, append(b, '\n'))
}

// Load reads a key file. A file that others may read is refused.
func Load(path string) (Account, error) {
	b, err := ReadPrivate(path)
	if err != nil {
		return Account{}, err
	}
	var f file
	if err := json.Unmarshal(b, &f); err != nil {
		return Account{}, fmt.Errorf("key file %s is not what init writes", path) // the cause could quote the key
	}
	secret, err := hex.DecodeString(f.Secret)
	if err != nil || len(secret) != secp256k1.PrivKeySize {
		return Account{}, fmt.Errorf("key file %s holds no key of %d bytes", path, secp256k1.PrivKeySize)
	}
	a, err := fromKey(&secp256k1.PrivKey{Key: secret})
	if err != nil {
		return Account{}, err
	}
	if a.Address != f.Address {
		return Account{}, fmt.Errorf("key file %s: the key is of account %s, not %s", path, a.Address, f.Address)
	}
	return a, nil
}

// ReadPrivate reads a small file that only its user may read.
func ReadPrivate(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read secret file: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("secret file %s has mode %04o, want 0600 (chmod 600 it)", path, mode)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read secret file: %w", err)
	}
	return b, nil
}

// WriteFile replaces a file, mode 0600, so that after a crash at any moment
// there is either the old one or the new one.
func WriteFile(path string, b []byte) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".new-*") // created with mode 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
			err = fmt.Errorf("write %s: %w", path, err)
		}
	}()
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir makes a rename survive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	return d.Sync()
}

// String is the address; the key is never printed.
func (a Account) String() string { return a.Address }

// Format prints the address whatever the verb.
func (a Account) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, a.Address) }

// LogValue is the address.
func (a Account) LogValue() slog.Value { return slog.StringValue(a.Address) }
