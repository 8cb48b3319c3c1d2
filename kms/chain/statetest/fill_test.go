package statetest

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"cosmossdk.io/log/v2"
	abci "github.com/cometbft/cometbft/abci/types"
	cmttypes "github.com/cometbft/cometbft/types"
	dbm "github.com/cosmos/cosmos-db"

	"github.com/secretvm/secretvm/kms/chain"
	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
)

// blocks starts or goes on with a chain, for some blocks, and returns its app
// hash.
func blocks(t *testing.T, db dbm.DB, genesis []byte, n int64) []byte {
	t.Helper()
	app, err := chain.New(log.NewNopLogger(), db, "filled")
	must(t, err)
	start, height := time.Unix(1_800_000_000, 0).UTC(), app.LastBlockHeight()
	if height == 0 {
		params := cmttypes.DefaultConsensusParams().ToProto()
		_, err := app.InitChain(&abci.RequestInitChain{ChainId: "filled", InitialHeight: 1, Time: start, AppStateBytes: genesis, ConsensusParams: &params})
		must(t, err)
	}
	for range n {
		height++
		hash := binary.BigEndian.AppendUint64(make([]byte, 24), uint64(height))
		_, err := app.FinalizeBlock(&abci.RequestFinalizeBlock{Height: height, Time: start.Add(time.Duration(height) * 10 * time.Second), Hash: hash})
		must(t, err)
		_, err = app.Commit()
		must(t, err)
	}
	return app.LastCommitID().Hash
}

// TestFilledIsTheGenesis: the state is, hash for hash, that of a chain whose
// genesis had all the services, in its first block and after it. It is made in
// one go, or killed and begun again.
func TestFilledIsTheGenesis(t *testing.T) {
	encoding, err := chain.NewEncoding()
	must(t, err)
	owner, err := encoding.Addresses.BytesToString(bytes.Repeat([]byte{7}, 20))
	must(t, err)
	for _, n := range []int{1, 2, 37, 300} {
		g := chain.Genesis{Committee: Committee(t, owner), KMS: types.GenesisState{Params: types.DefaultParams()}}
		empty, err := json.Marshal(g)
		must(t, err)
		g.KMS.Services = Services(owner, 0, n)
		full, err := json.Marshal(g)
		must(t, err)
		real := dbm.NewMemDB()
		want := blocks(t, real, full, 1)

		db, work := dbm.NewMemDB(), filepath.Join(t.TempDir(), "work")
		blocks(t, db, empty, 1)
		quiet := func(string, ...any) {}
		must(t, os.MkdirAll(work, 0o700)) // as after a kill
		must(t, os.WriteFile(filepath.Join(work, "before.part"), []byte("half"), 0o600))
		hash, err := Fill(db, work, owner, n, quiet)
		must(t, err)
		if !bytes.Equal(hash, want) {
			t.Fatalf("%d services: app hash is %x, want %x", n, hash, want)
		}
		if a, b := blocks(t, db, nil, 3), blocks(t, real, nil, 3); !bytes.Equal(a, b) {
			t.Errorf("%d services: after three blocks, app hash is %x, want %x", n, a, b)
		}
		app, err := chain.Open(db, "filled", 0)
		must(t, err)
		if root, err := app.Root(4); err != nil || !bytes.Equal(root, app.LastCommitID().Hash) {
			t.Errorf("%d services: computed from every entry, app hash is %x, %v", n, root, err)
		}
	}
}

// TestShape: leaves that are added in order make a balanced tree of them all.
func TestShape(t *testing.T) {
	for _, n := range []int{1, 2, 3, 4, 5, 6, 7, 8, 100, 1000, 12345} {
		s := shapeOf(n)
		var leaves func(int32) int
		leaves = func(node int32) int {
			if node == leaf {
				return 1
			}
			if d := s.high(s.left[node]) - s.high(s.right[node]); d < -1 || d > 1 {
				t.Errorf("%d leaves: a node is out of balance by %d", n, d)
			}
			return leaves(s.left[node]) + leaves(s.right[node])
		}
		if got := leaves(s.root()); got != n {
			t.Errorf("tree of %d leaves has %d", n, got)
		}
	}
	if !slices.Equal(shapeOf(3).height, []int8{2, 1}) {
		t.Errorf("heights of three leaves are %v", shapeOf(3).height)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
