package chain

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"testing"

	"cosmossdk.io/log/v2"
	dbm "github.com/cosmos/cosmos-db"

	"github.com/cosmos/cosmos-sdk/store/v2/rootmulti"
	storetypes "github.com/cosmos/cosmos-sdk/store/v2/types"
	"github.com/cosmos/cosmos-sdk/types/module"
	upgradetypes "github.com/cosmos/cosmos-sdk/x/upgrade/types"
)

// NewWith is New of a program that makes other upgrades.
func NewWith(db dbm.DB, chainID string, known ...Upgrade) (*App, error) {
	made := this()
	made.upgrades = known
	return newApp(log.NewNopLogger(), db, chainID, made, 0)
}

// StoreDigests digests every entry of every store in the newest state, by name.
func StoreDigests(t *testing.T, app *App) map[string]string {
	t.Helper()
	out := map[string]string{}
	ctx, err := app.Read()
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range app.stores {
		h := sha256.New()
		entries := ctx.KVStore(key).Iterator(nil, nil)
		for ; entries.Valid(); entries.Next() {
			for _, part := range [][]byte{entries.Key(), entries.Value()} {
				h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(part))))
				h.Write(part)
			}
		}
		if err := entries.Close(); err != nil {
			t.Fatal(err)
		}
		out[name] = hex.EncodeToString(h.Sum(nil))
	}
	return out
}

// Stores is a database with the stores of another version: an empty first block.
func Stores(db dbm.DB, names ...string) error {
	ms := rootmulti.NewStore(db, log.NewNopLogger())
	for _, name := range names {
		ms.MountStoreWithDB(storetypes.NewKVStoreKey(name), storetypes.StoreTypeIAVL, nil)
	}
	if err := ms.LoadLatestVersion(); err != nil {
		return err
	}
	ms.Commit()
	return nil
}

// NewFirst is New of the program of before chains wrote down their versions.
func NewFirst(db dbm.DB, chainID string) (*App, error) {
	first := program{versions: module.VersionMap{}}
	for name := range this().versions {
		first.versions[name] = 1
	}
	return newApp(log.NewNopLogger(), db, chainID, first, 0)
}

// Former leaves in db what the program of NewFirst would have: no versions, and
// nothing of a recovery committee. That takes a block of its own.
func Former(db dbm.DB) error {
	all := rootmulti.NewStore(db, log.NewNopLogger())
	committee, upgrades := storetypes.NewKVStoreKey("committee"), storetypes.NewKVStoreKey("upgrade")
	for _, name := range []string{"acc", "consensus", "council", "kms"} {
		all.MountStoreWithDB(storetypes.NewKVStoreKey(name), storetypes.StoreTypeIAVL, nil)
	}
	all.MountStoreWithDB(committee, storetypes.StoreTypeIAVL, nil)
	all.MountStoreWithDB(upgrades, storetypes.StoreTypeIAVL, nil)
	if err := all.LoadLatestVersion(); err != nil {
		return err
	}
	for key, from := range map[*storetypes.KVStoreKey][2]byte{committee: {15, 18}, upgrades: {upgradetypes.VersionMapByte, upgradetypes.VersionMapByte + 1}} {
		store := all.GetKVStore(key)
		var gone [][]byte
		entries := store.Iterator([]byte{from[0]}, []byte{from[1]})
		for ; entries.Valid(); entries.Next() {
			gone = append(gone, entries.Key())
		}
		if err := entries.Close(); err != nil {
			return err
		}
		for _, key := range gone {
			store.Delete(key)
		}
	}
	all.Commit()
	return nil
}
