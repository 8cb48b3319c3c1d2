package chain

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"cosmossdk.io/log/v2"
	abci "github.com/cometbft/cometbft/abci/types"
	cmttypes "github.com/cometbft/cometbft/types"
	dbm "github.com/cosmos/cosmos-db"
	iavltree "github.com/cosmos/iavl"

	"github.com/cosmos/cosmos-sdk/store/v2/iavl"
	"github.com/cosmos/cosmos-sdk/store/v2/rootmulti"
	storetypes "github.com/cosmos/cosmos-sdk/store/v2/types"

	"github.com/secretvm/secretvm/vm"
)

// Open opens a database to read it and to find out whether it was altered: at
// height, or at the newest for 0. There is nothing beside the trees that the app
// hash is made of, so that nothing is read that it does not vouch for.
func Open(db dbm.DB, chainID string, height int64) (*App, error) {
	return newApp(log.NewNopLogger(), db, chainID, this(), height)
}

// Root computes the app hash of the state after a block from every entry of it:
// unlike the hashes that lie in the database it cannot belong to another state.
func (app *App) Root(height int64) ([]byte, error) {
	info := storetypes.CommitInfo{Version: height}
	all, ok := app.CommitMultiStore().(*rootmulti.Store)
	if !ok {
		return nil, errors.New("compute the app hash: the stores are of another kind")
	}
	for _, name := range slices.Sorted(maps.Keys(app.stores)) {
		tree, ok := all.GetStoreByName(name).(*iavl.Store)
		if !ok {
			return nil, fmt.Errorf("compute the app hash: store %s is no tree", name)
		}
		root, err := rootOf(tree, height)
		if err != nil {
			return nil, fmt.Errorf("compute the app hash after block %d: store %s: %w", height, name, err)
		}
		info.StoreInfos = append(info.StoreInfos, storetypes.StoreInfo{Name: name, CommitId: storetypes.CommitID{Version: height, Hash: root}})
	}
	return info.Hash(), nil
}

// subtree is what the hash of a node above needs of one below.
type subtree struct {
	size int64
	hash [sha256.Size]byte
}

// rootOf computes the root of a tree: the nodes come children first. The hash of
// a node is that of IAVL (Node.writeHashBytes): height, size and version as
// varints, then key and hash of the value behind their lengths, or both children's
// hashes behind theirs.
func rootOf(tree *iavl.Store, height int64) ([]byte, error) {
	nodes, err := tree.Export(height)
	if err != nil {
		return nil, err
	}
	defer nodes.Close()
	var stack []subtree
	var b []byte
	for {
		n, err := nodes.Next()
		if errors.Is(err, iavltree.ErrorExportDone) {
			break
		}
		if err != nil {
			return nil, err
		}
		at := subtree{size: 1}
		if n.Height > 0 {
			if len(stack) < 2 {
				return nil, errors.New("a node has no children")
			}
			at.size = stack[len(stack)-2].size + stack[len(stack)-1].size
		}
		b = binary.AppendVarint(b[:0], int64(n.Height))
		b = binary.AppendVarint(b, at.size)
		b = binary.AppendVarint(b, n.Version)
		if n.Height == 0 {
			value := sha256.Sum256(n.Value)
			b = append(binary.AppendUvarint(b, uint64(len(n.Key))), n.Key...)
			b = append(append(b, sha256.Size), value[:]...)
		} else {
			for _, child := range stack[len(stack)-2:] {
				b = append(append(b, sha256.Size), child.hash[:]...)
			}
			stack = stack[:len(stack)-2]
		}
		at.hash = sha256.Sum256(b)
		stack = append(stack, at)
	}
	switch len(stack) {
	case 0:
		empty := sha256.Sum256(nil)
		return empty[:], nil
	case 1:
	default:
		return nil, fmt.Errorf("%d trees, want one", len(stack))
	}
	return stack[0].hash[:], nil
}

// Replay computes the app hash that a block makes of the state before it, and
// writes nothing.
func Replay(db dbm.DB, block *cmttypes.Block) ([]byte, error) {
	app, err := Open(db, block.ChainID, block.Height-1)
	if err != nil {
		return nil, err
	}
	answer, err := app.FinalizeBlock(&abci.RequestFinalizeBlock{
		Txs: block.Txs.ToSliceOfBytes(), Hash: block.Hash(), Height: block.Height, Time: block.Time,
		ProposerAddress: block.ProposerAddress, NextValidatorsHash: block.NextValidatorsHash, Misbehavior: block.Evidence.Evidence.ToABCI(),
	})
	if err != nil {
		return nil, fmt.Errorf("execute block %d again: %w", block.Height, err)
	}
	if len(answer.AppHash) == 0 {
		return nil, vm.Refuse(vm.CodeInternal, "block %d has no app hash", block.Height)
	}
	return answer.AppHash, nil
}
