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
)

// NewWith is New of a program that makes other upgrades.
func NewWith(db dbm.DB, chainID string, known ...Upgrade) (*App, error) {
	return newApp(log.NewNopLogger(), db, chainID, known, 0)
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
