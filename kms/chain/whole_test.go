package chain_test

import (
	"bytes"
	"encoding/json"
	"sync"
	"testing"
	"time"

	"cosmossdk.io/log/v2"
	abci "github.com/cometbft/cometbft/abci/types"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	dbm "github.com/cosmos/cosmos-db"

	"github.com/secretvm/secretvm/kms/chain"
	"github.com/secretvm/secretvm/kms/chain/statetest"
	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/vm"
)

// mortal is a database of a process that is killed: after so many writes nothing
// reaches it any more.
type mortal struct {
	dbm.DB
	mu   *sync.Mutex
	left *int
}

func dying(db dbm.DB, after int) mortal { return mortal{db, new(sync.Mutex), &after} }

// writes reports whether there is a write left, and takes it.
func (m mortal) writes() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	*m.left--
	return *m.left >= 0
}

func (m mortal) Set(key, value []byte) error {
	if !m.writes() {
		return nil
	}
	return m.DB.Set(key, value)
}

func (m mortal) SetSync(key, value []byte) error  { return m.Set(key, value) }
func (m mortal) NewBatch() dbm.Batch              { return mortalBatch{m.DB.NewBatch(), m} }
func (m mortal) NewBatchWithSize(n int) dbm.Batch { return mortalBatch{m.DB.NewBatchWithSize(n), m} }
func (m mortal) Delete(key []byte) error          { return m.NewBatch().Delete(key) }

type mortalBatch struct {
	dbm.Batch
	of mortal
}

func (b mortalBatch) Write() error {
	if !b.of.writes() {
		return nil
	}
	return b.Batch.Write()
}

func (b mortalBatch) WriteSync() error { return b.Write() }

// TestKilledBetweenTwoWrites: wherever within a commit a node is killed, be it its
// first, it opens its state again, makes the same blocks and comes to the same app
// hash, with an index that belongs to it.
func TestKilledBetweenTwoWrites(t *testing.T) {
	g := chain.Genesis{KMS: types.GenesisState{Params: types.DefaultParams()}}
	owner := newWorld(t, types.TrustIntel).owner.Address
	g.Committee = statetest.Committee(t, owner)
	g.KMS.Services = statetest.Services(owner, 0, 400) // several times what IAVL writes at once
	genesis, err := json.Marshal(g)
	must(t, err)
	start := time.Now().UTC().Truncate(time.Second)
	// The second block changes as much as the first, the third next to nothing.
	play := func(db dbm.DB, until int64) *chain.App {
		app, err := chain.New(log.NewNopLogger(), db, chainID)
		must(t, err)
		for height := app.LastBlockHeight() + 1; height <= until; height++ {
			if height == 1 {
				must(t, tryInit(app, genesis, start))
			}
			now := start.Add(time.Duration(height) * 10 * time.Second)
			if height == 2 {
				added := statetest.Services(owner, 400, 400)
				must(t, app.KMS.InitGenesis(app.NewNextBlockContext(cmtproto.Header{ChainID: chainID, Height: height, Time: now}), types.GenesisState{Params: types.DefaultParams(), Services: added}))
			}
			hash := vm.HashOf([]byte{byte(height)})
			_, err := app.FinalizeBlock(&abci.RequestFinalizeBlock{Height: height, Time: now, Hash: hash[:]})
			must(t, err)
			_, err = app.Commit()
			must(t, err)
		}
		return app
	}
	whole := play(dbm.NewMemDB(), 3)
	want, entries := whole.LastCommitID().Hash, chain.StoreDigests(t, whole)
	for after := 0; ; after++ {
		db := dbm.NewMemDB()
		killed := dying(db, after)
		play(killed, 2)
		again := play(db, 3)
		if got := again.LastCommitID().Hash; !bytes.Equal(got, want) {
			t.Errorf("killed after %d writes: app hash is %x, want %x", after, got, want)
		}
		if got := chain.StoreDigests(t, again); got["kms"] != entries["kms"] {
			t.Errorf("killed after %d writes: the index has other entries than the tree", after)
		}
		if *killed.left > 0 {
			if after < 10 {
				t.Errorf("two blocks took %d writes only", after)
			}
			return
		}
	}
}
