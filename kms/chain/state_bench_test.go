package chain_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"cosmossdk.io/log/v2"
	abci "github.com/cometbft/cometbft/abci/types"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	dbm "github.com/cosmos/cosmos-db"

	"github.com/cosmos/cosmos-sdk/types/query"

	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/kms/chain"
	"github.com/secretvm/secretvm/kms/chain/x/kms"
	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/vm"
)

// benchServices is how many services BenchmarkState fills in, from the
// environment: SECRETVM_BENCH_SERVICES=1000000.
func benchServices(b *testing.B) int {
	b.Helper()
	text := os.Getenv("SECRETVM_BENCH_SERVICES")
	if text == "" {
		return 10_000
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		b.Fatalf("SECRETVM_BENCH_SERVICES is %q, want a number", text)
	}
	return n
}

// BenchmarkState fills a database on disk with services, as a genesis would,
// then measures how long a node takes to open it and make its next block, and
// queries as it answers them. Each service has an image with two platforms, one
// grant, one machine and one change.
//
//	go test ./kms/chain -run none -bench State -benchtime 1x -timeout 0
//
// SECRETVM_BENCH_STATE names a folder that is filled once and kept.
func BenchmarkState(b *testing.B) {
	n := benchServices(b)
	dir := os.Getenv("SECRETVM_BENCH_STATE")
	if dir == "" {
		dir = b.TempDir()
	}
	db, err := dbm.NewGoLevelDB("application", dir, nil)
	must(b, err)
	app, err := chain.New(log.NewNopLogger(), db, chainID)
	must(b, err)
	owner, err := app.Addresses.BytesToString(bytes.Repeat([]byte{7}, 20))
	must(b, err)
	height, now := app.LastBlockHeight(), time.Now().UTC()
	start := time.Now()
	commit := func() {
		height, now = height+1, now.Add(time.Second)
		hash := vm.HashOf(binary.BigEndian.AppendUint64(nil, uint64(height)))
		_, err := app.FinalizeBlock(&abci.RequestFinalizeBlock{Height: height, Time: now, Hash: hash[:]})
		must(b, err)
		_, err = app.Commit()
		must(b, err)
	}
	if height == 0 {
		must(b, tryInit(app, newWorld(b, types.TrustIntel).genesis, now))
	}
	commit()
	const batch = 20_000
	for first := 0; first < n; first += batch {
		ctx, err := app.Read()
		must(b, err)
		if _, err := app.KMS.Service(ctx, benchID(owner, min(first+batch, n)-1)); err == nil {
			continue // filled before
		}
		must(b, app.KMS.InitGenesis(app.NewNextBlockContext(cmtproto.Header{ChainID: chainID, Height: height + 1, Time: now}), types.GenesisState{
			Params: types.DefaultParams(), Services: benchStates(owner, first, min(batch, n-first)),
		}))
		commit()
		if first/batch%5 == 4 {
			b.Logf("%d services after %s", first+batch, time.Since(start).Round(time.Second))
		}
	}
	filled := time.Since(start)

	read := func(what string, ask func(i int) error) {
		took := make([]time.Duration, 2000)
		for i := range took {
			begin := time.Now()
			must(b, ask(i*7919%n))
			took[i] = time.Since(begin)
		}
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, what+"-p50-ms")
		b.ReportMetric(float64(took[len(took)*95/100].Microseconds())/1000, what+"-p95-ms")
	}
	measure := func() {
		q := kms.NewQueryServer(app.KMS)
		read("service", func(i int) error {
			ctx, err := app.Read()
			if err != nil {
				return err
			}
			_, err = q.Service(ctx, &types.QueryServiceRequest{Service: benchID(owner, i)})
			return err
		})
		read("page", func(i int) error {
			ctx, err := app.Read()
			if err != nil {
				return err
			}
			r, err := q.Services(ctx, &types.QueryServicesRequest{Pagination: &query.PageRequest{Key: []byte(benchID(owner, i)), Limit: 50}})
			if err == nil && len(r.Services) == 0 {
				err = fmt.Errorf("an empty page from %d", i)
			}
			return err
		})
		read("log", func(i int) error {
			ctx, err := app.Read()
			if err != nil {
				return err
			}
			_, err = q.Grants(ctx, &types.QueryGrantsRequest{Service: benchID(owner, i)})
			return err
		})
		read("proof", func(i int) error {
			_, err := app.Prove(b.Context(), "kms", types.ServiceKey(benchID(owner, i)), 0)
			return err
		})
	}
	for b.Loop() {
		must(b, db.Close())
		begin := time.Now()
		db, err = dbm.NewGoLevelDB("application", dir, nil)
		must(b, err)
		app, err = chain.New(log.NewNopLogger(), db, chainID)
		must(b, err)
		commit()
		b.ReportMetric(time.Since(begin).Seconds(), "restart-s")
		measure()
	}
	b.ReportMetric(float64(n), "services")
	b.ReportMetric(filled.Seconds(), "fill-s")
	must(b, db.Close())
}

func benchID(owner string, i int) string { return fmt.Sprintf("%s/s%07d", owner, i) }

// benchStates are services as an export has them.
func benchStates(owner string, first, n int) []types.ServiceState {
	out := make([]types.ServiceState, n)
	for i := range out {
		id := benchID(owner, first+i)
		digest := vm.HashOf([]byte(id))
		register := append(digest[:], digest[:16]...)
		image := types.Image{Rtmr1: register, Rtmr2: register, Rtmr3: register, Description: "base v1.2.3", Platforms: 2, AddedBy: owner}
		out[i] = types.ServiceState{
			Service:  types.Service{Id: id, Owner: owner, Name: id[len(owner)+1:], Height: 1, Time: 1, Policy: types.Policy{UpgradeDelay: week}},
			Counters: types.Counters{Images: 1, Platforms: 2, Grants: 1, Changes: 1},
			Images: []types.ImageState{{Image: image, Platforms: []types.Platform{
				{Tee: "tdx", Mrtd: register, Rtmr0: register, Shape: "2 vCPU 4 GiB"}, {Tee: "tdx", Mrtd: register, Rtmr0: bytes.Repeat([]byte{1}, 48)},
			}}},
			Changes:   []types.Change{{Height: 1, Time: 1, By: owner, Kind: types.ChangeAdd}},
			Grants:    []types.Grant{{Id: digest[:], Service: id, VmUid: uid, HpkeKey: make([]byte, 1216), SessionKey: digest[:], Keys: types.FromIDs([]keys.ID{keys.Disk(id, uid)})}},
			Instances: []types.Instance{{VmUid: uid, Generation: 1, Grant: digest[:]}},
		}
	}
	return out
}
