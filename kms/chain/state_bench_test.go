package chain_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"cosmossdk.io/log/v2"
	abci "github.com/cometbft/cometbft/abci/types"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	dbm "github.com/cosmos/cosmos-db"

	"github.com/cosmos/cosmos-sdk/types/query"

	"github.com/secretvm/secretvm/kms/chain"
	"github.com/secretvm/secretvm/kms/chain/statetest"
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

// BenchmarkState fills a database on disk with services (package statetest), and
// ages it: blocks with new services all over the tree. Then it measures how long
// a node takes to open it and make its next block, and queries as it answers
// them. Filling and measuring are best done in two runs: the second has the
// memory of a node.
//
//	SECRETVM_BENCH_SERVICES=1000000 SECRETVM_BENCH_STATE=folder \
//	    go test ./kms/chain -run none -bench State -benchtime 1x -timeout 0
//
// SECRETVM_BENCH_STATE names a folder that is filled once and kept; a fill that
// was killed goes on.
func BenchmarkState(b *testing.B) {
	n := benchServices(b)
	dir := os.Getenv("SECRETVM_BENCH_STATE")
	if dir == "" {
		dir = b.TempDir()
	}
	s := &stateBench{b: b, dir: dir, n: n, now: time.Now().UTC()}
	start := time.Now()
	s.fill()
	filled := time.Since(start)
	for b.Loop() {
		begin := time.Now()
		s.open()
		s.commit()
		b.ReportMetric(time.Since(begin).Seconds(), "restart-s")
		b.ReportMetric(resident(b), "opened-MB")
		s.measure()
		b.ReportMetric(resident(b), "used-MB")
		b.ReportMetric(s.blocks(20), "block-of-100-ms")
		must(b, s.db.Close())
	}
	b.ReportMetric(float64(n), "services")
	b.ReportMetric(filled.Seconds(), "fill-s")
	b.ReportMetric(onDisk(b, dir), "disk-MB")
}

type stateBench struct {
	b     *testing.B
	dir   string
	n     int
	db    dbm.DB
	app   *chain.App
	owner string
	now   time.Time
}

func (s *stateBench) open() {
	var err error
	s.db, err = chain.OpenDB(s.dir)
	must(s.b, err)
	s.app, err = chain.New(log.NewNopLogger(), s.db, chainID)
	must(s.b, err)
	s.owner, err = s.app.Addresses.BytesToString(bytes.Repeat([]byte{7}, 20))
	must(s.b, err)
}

// commit makes the next block, in which services are added.
func (s *stateBench) commit(added ...types.ServiceState) {
	height := s.app.LastBlockHeight() + 1
	s.now = s.now.Add(time.Second)
	if len(added) > 0 {
		ctx := s.app.NewNextBlockContext(cmtproto.Header{ChainID: chainID, Height: height, Time: s.now})
		must(s.b, s.app.KMS.InitGenesis(ctx, types.GenesisState{Params: types.DefaultParams(), Services: added}))
	}
	hash := vm.HashOf(binary.BigEndian.AppendUint64(nil, uint64(height)))
	_, err := s.app.FinalizeBlock(&abci.RequestFinalizeBlock{Height: height, Time: s.now, Hash: hash[:]})
	must(s.b, err)
	_, err = s.app.Commit()
	must(s.b, err)
}

// fill makes the state, unless the folder has it.
func (s *stateBench) fill() {
	const ageing = 20 // blocks
	s.open()
	if s.app.LastBlockHeight() == 0 {
		must(s.b, tryInit(s.app, newWorld(s.b, types.TrustIntel).genesis, s.now))
		s.commit()
	}
	defer func() { must(s.b, s.db.Close()) }()
	if s.app.LastBlockHeight() == 1 {
		must(s.b, s.db.Close())
		var err error
		s.db, err = chain.OpenDB(s.dir)
		must(s.b, err)
		_, err = statetest.Fill(s.db, filepath.Join(s.dir, "filling"), s.owner, s.n, s.b.Logf)
		must(s.b, err)
		must(s.b, s.db.Close())
		s.open()
	}
	if s.app.LastBlockHeight() < ageing {
		s.b.Logf("%.1f ms for each block of 100 new services", s.blocks(ageing-int(s.app.LastBlockHeight())))
	}
}

// blocks makes blocks with 100 new services each, anywhere among the others. It
// returns how long one takes, in milliseconds.
func (s *stateBench) blocks(n int) float64 {
	start := time.Now()
	for range n {
		var added []types.ServiceState
		for i := range 100 {
			// Between two of the others, by its name.
			between := fmt.Sprintf("%s-%d-%d", statetest.ID(s.owner, rand.IntN(s.n)), s.app.LastBlockHeight(), i)
			added = append(added, statetest.Service(s.owner, between))
		}
		slices.SortFunc(added, func(a, b types.ServiceState) int { return strings.Compare(a.Service.Id, b.Service.Id) })
		s.commit(added...)
	}
	return float64(time.Since(start).Microseconds()) / 1000 / float64(n)
}

func (s *stateBench) read(what string, ask func(i int) error) {
	took := make([]time.Duration, 2000)
	for i := range took {
		begin := time.Now()
		must(s.b, ask(i*7919%s.n))
		took[i] = time.Since(begin)
	}
	slices.Sort(took)
	s.b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, what+"-p50-ms")
	s.b.ReportMetric(float64(took[len(took)*95/100].Microseconds())/1000, what+"-p95-ms")
}

func (s *stateBench) measure() {
	q := kms.NewQueryServer(s.app.KMS)
	s.read("service", func(i int) error {
		ctx, err := s.app.Read()
		if err != nil {
			return err
		}
		_, err = q.Service(ctx, &types.QueryServiceRequest{Service: statetest.ID(s.owner, i)})
		return err
	})
	s.read("page", func(i int) error {
		ctx, err := s.app.Read()
		if err != nil {
			return err
		}
		r, err := q.Services(ctx, &types.QueryServicesRequest{Pagination: &query.PageRequest{Key: []byte(statetest.ID(s.owner, i)), Limit: 50}})
		if err == nil && len(r.Services) == 0 {
			err = fmt.Errorf("an empty page from %d", i)
		}
		return err
	})
	s.read("log", func(i int) error {
		ctx, err := s.app.Read()
		if err != nil {
			return err
		}
		_, err = q.Grants(ctx, &types.QueryGrantsRequest{Service: statetest.ID(s.owner, i)})
		return err
	})
	s.read("proof", func(i int) error {
		_, err := s.app.Prove(s.b.Context(), "kms", types.ServiceKey(statetest.ID(s.owner, i)), 0)
		return err
	})
}

// resident is how much memory this process has, in MB; 0 where Linux does not say.
func resident(b *testing.B) float64 {
	b.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if f := strings.Fields(line); f[0] == "VmRSS:" {
			kB, err := strconv.Atoi(f[1])
			must(b, err)
			return float64(kB) / 1024
		}
	}
	return 0
}

// onDisk is how large the files of a folder are, in MB.
func onDisk(b *testing.B, dir string) float64 {
	b.Helper()
	var bytes int64
	must(b, filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			bytes += info.Size()
		}
		return err
	}))
	return float64(bytes) / 1e6
}
