package node

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	dbm "github.com/cosmos/cosmos-db"

	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/kms/signer"
	"github.com/secretvm/secretvm/kms/wire"
	"github.com/secretvm/secretvm/vm"
)

// Wipe destroys the secrets of a home whose node has left its chain: its shares,
// what it drew for rounds, and its keys as a node and validator. What the chain's
// nodes say of an epoch comes from status; a share on which the chain still
// counts is not destroyed, nor anything else then. The owner's account stays: it
// is a person's. It returns the files that are gone.
func (h Home) Wipe(status func(epoch uint64) (wire.Status, error)) ([]string, error) {
	if !h.Exists() {
		return nil, vm.Refuse(vm.CodeInvalid, "%s holds no node", h)
	}
	doc, _, err := h.readGenesis()
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(h.data()); err == nil {
		db, err := dbm.NewDB("application", dbm.GoLevelDBBackend, h.data()) // nobody else may have it
		if err != nil {
			return nil, unopened(h, err)
		}
		if err := db.Close(); err != nil {
			return nil, err
		}
	}
	var doomed []string
	for _, pattern := range []string{filepath.Join(h.shares(), "*.json"), filepath.Join(h.rounds(), "*.json")} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			return nil, fmt.Errorf("list the secrets of %s: %w", h, err)
		}
		doomed = append(doomed, files...)
	}
	for _, path := range doomed {
		if filepath.Dir(path) != h.shares() {
			continue
		}
		if err := departed(path, doc.ChainID, status); err != nil {
			return nil, err
		}
	}
	comet := h.cometConfig(DefaultTiming)
	doomed = append(doomed, h.sealing(), h.relay(), comet.PrivValidatorKeyFile(), comet.NodeKeyFile())
	var gone []string
	for _, path := range doomed {
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err := wipeFile(path); err != nil {
			return gone, err
		}
		gone = append(gone, path)
	}
	return gone, nil
}

// departed refuses a share on which the chain still counts.
func departed(path, chainID string, status func(epoch uint64) (wire.Status, error)) error {
	b, err := signer.ReadPrivate(path)
	if err != nil {
		return err
	}
	var f shareFile
	if err := json.Unmarshal(b, &f); err != nil {
		return fmt.Errorf("%s is not what a node writes", path)
	}
	scalar, err := hex.DecodeString(f.Scalar)
	if err != nil {
		return fmt.Errorf("%s holds no share", path)
	}
	share, err := keys.ParseShare(f.Index, scalar)
	clear(scalar)
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	defer share.Wipe()
	s, err := status(f.Epoch)
	if vm.CodeOf(err) == vm.CodeInvalid {
		return nil // the epoch is closed
	}
	if err != nil {
		return fmt.Errorf("ask who holds shares of epoch %d: %w", f.Epoch, err)
	}
	if s.ChainID != chainID {
		return vm.Refuse(vm.CodeInvalid, "the node that was asked is of another chain").On("chain_id", s.ChainID, chainID)
	}
	for _, n := range s.Nodes {
		if n.PublicKey.Equal(share.Public()) {
			return vm.Refuse(vm.CodeInvalid, "the chain still counts on the share of node %d in %s", f.Index, path).
				Try("kmsd tx committee leave --index " + fmt.Sprint(f.Index) + ", and wait for the round that follows")
		}
	}
	return nil
}
