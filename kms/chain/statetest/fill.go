package statetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"cosmossdk.io/core/store"
	"cosmossdk.io/log/v2"
	dbm "github.com/cosmos/cosmos-db"
	"github.com/cosmos/iavl"

	"github.com/cosmos/cosmos-sdk/store/v2/rootmulti"
	"github.com/cosmos/cosmos-sdk/store/v2/wrapper"

	"github.com/secretvm/secretvm/kms/chain"
	"github.com/secretvm/secretvm/kms/chain/x/kms"
	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
)

// chunk is how many services are made in memory at once.
const chunk = 20_000

// Fill adds n services to the newest state in db, which no application may have
// open, as if all of them had been there when that state was the first. It
// returns the app hash that the state has now. Files in work, of about the size
// of the services, let it go on where it was killed; it removes them at its end.
func Fill(db dbm.DB, work, owner string, n int, say func(format string, args ...any)) ([]byte, error) {
	if err := os.MkdirAll(work, 0o700); err != nil {
		return nil, err
	}
	tree := dbm.NewPrefixDB(db, []byte("s/k:"+types.StoreKey+"/"))
	version := rootmulti.GetLatestVersion(db)

	// What is there already, but for the parameters, which every import writes.
	names := []string{filepath.Join(work, "before")}
	if err := once(names[0], func() error { return readTree(tree, version, names[0]) }); err != nil {
		return nil, fmt.Errorf("read the state before: %w", err)
	}
	for first := 0; first < n; first += chunk {
		name := filepath.Join(work, fmt.Sprintf("from-%09d", first))
		names = append(names, name)
		if err := once(name, func() error { return writeServices(name, owner, first, min(chunk, n-first)) }); err != nil {
			return nil, fmt.Errorf("make services from %d: %w", first, err)
		}
	}
	say("%d services are made", n)

	count, err := entries(names)
	if err != nil {
		return nil, err
	}
	say("%d entries are sorted", count)
	written := filepath.Join(work, "written")
	err = once(written, func() error {
		if err := clearAll(tree); err != nil {
			return fmt.Errorf("clear the store: %w", err)
		}
		if err := writeTree(tree, version, names, shapeOf(count)); err != nil {
			return fmt.Errorf("write the tree: %w", err)
		}
		return os.WriteFile(written, nil, 0o600)
	})
	if err != nil {
		return nil, err
	}
	say("the tree is written")
	indexed, err := openTree(tree, version) // makes the index beside it
	if err != nil {
		return nil, fmt.Errorf("open the tree: %w", err)
	}
	hash, err := note(db, version, indexed.Hash())
	if err != nil {
		return nil, fmt.Errorf("write the app hash: %w", err)
	}
	say("the index is written")
	return hash, errors.Join(indexed.Close(), os.RemoveAll(work))
}

func once(name string, do func() error) error {
	if _, err := os.Stat(name); err == nil {
		return nil
	}
	return do()
}

func openTree(db dbm.DB, version int64) (*iavl.MutableTree, error) {
	tree := iavl.NewMutableTree(wrapper.NewDBWrapper(db), 10_000, false, log.NewNopLogger())
	_, err := tree.LoadVersion(version)
	return tree, err
}

func readTree(db dbm.DB, version int64, name string) error {
	tree, err := openTree(db, version)
	if err != nil {
		return err
	}
	all, err := tree.Iterator(nil, nil, true)
	if err != nil {
		return err
	}
	return errors.Join(writeRun(name, all), all.Close(), tree.Close())
}

// memory is a store of the module's entries.
type memory struct{ *dbm.MemDB }

// OpenKVStore implements store.KVStoreService.
func (m memory) OpenKVStore(context.Context) store.KVStore { return m.MemDB }

// writeServices makes the entries of n services.
func writeServices(name, owner string, first, n int) error {
	encoding, err := chain.NewEncoding()
	if err != nil {
		return err
	}
	made := memory{dbm.NewMemDB()}
	keeper, err := kms.NewKeeper(encoding.Codec, made, nil)
	if err != nil {
		return err
	}
	g := types.GenesisState{Params: types.DefaultParams(), Services: Services(owner, first, n)}
	if err := keeper.InitGenesis(context.Background(), g); err != nil {
		return err
	}
	if err := made.Delete([]byte{byte(types.PrefixParams)}); err != nil {
		return err
	}
	all, err := made.Iterator(nil, nil)
	if err != nil {
		return err
	}
	return errors.Join(writeRun(name, all), all.Close())
}

// entries counts.
func entries(names []string) (n int, err error) {
	all, err := merge(names)
	if err != nil {
		return 0, err
	}
	for {
		_, err := all.read()
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, errors.Join(err, all.close())
		}
		n++
	}
}

// clearAll removes what a store has.
func clearAll(db dbm.DB) error {
	all, err := db.Iterator(nil, nil)
	if err != nil {
		return err
	}
	batch := db.NewBatch()
	for n := 1; all.Valid(); all.Next() {
		if err := batch.Delete(all.Key()); err != nil {
			return err
		}
		if n++; n%10_000 == 0 {
			if err := errors.Join(batch.Write(), batch.Close()); err != nil {
				return err
			}
			batch = db.NewBatch()
		}
	}
	return errors.Join(all.Error(), all.Close(), batch.Write(), batch.Close())
}

// writeTree writes all entries as a tree of that shape, without an index.
func writeTree(db dbm.DB, version int64, names []string, s *shape) error {
	tree := iavl.NewMutableTree(wrapper.NewDBWrapper(db), 10_000, true, log.NewNopLogger())
	into, err := tree.Import(version)
	if err != nil {
		return err
	}
	defer into.Close()
	all, err := merge(names)
	if err != nil {
		return err
	}
	defer func() { _ = all.close() }()
	// Children come first; the key of an inner node is the first of its right side.
	var add func(node int32) (first []byte, err error)
	add = func(node int32) ([]byte, error) {
		if node == leaf {
			e, err := all.read()
			if err != nil {
				return nil, err
			}
			return e.key, into.Add(&iavl.ExportNode{Key: e.key, Value: e.value, Version: version})
		}
		first, err := add(s.left[node])
		if err != nil {
			return nil, err
		}
		key, err := add(s.right[node])
		if err != nil {
			return nil, err
		}
		return first, into.Add(&iavl.ExportNode{Key: key, Version: version, Height: s.height[node]})
	}
	if _, err := add(s.root()); err != nil {
		return err
	}
	return errors.Join(into.Commit(), tree.Close())
}

// note writes the store's new root beside those of the other stores.
func note(db dbm.DB, version int64, root []byte) ([]byte, error) {
	info, err := rootmulti.NewStore(db, log.NewNopLogger()).GetCommitInfo(version)
	if err != nil {
		return nil, err
	}
	for i := range info.StoreInfos {
		if info.StoreInfos[i].Name == types.StoreKey {
			info.StoreInfos[i].CommitId.Hash = root
		}
	}
	encoded, err := info.Marshal()
	if err != nil {
		return nil, err
	}
	return info.Hash(), db.SetSync(fmt.Appendf(nil, "s/%d", version), encoded)
}
