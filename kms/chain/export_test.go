package chain_test

import (
	"crypto/ed25519"
	"encoding/json"
	"strings"
	"testing"

	"cosmossdk.io/log/v2"
	dbm "github.com/cosmos/cosmos-db"

	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/kms/chain"
	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/vm"
)

// eventful is a chain on which everything has happened once.
func eventful(t *testing.T) (*world, vm.Config) {
	t.Helper()
	w := softWorld(t)
	cfg := w.guarded()
	owner := w.owner.Address
	next := w.image(evil(cfg))
	next.Platforms = append(rows(300), next.Platforms...)
	w.do(w.owner, next, &types.MsgAddImageResponse{})
	w.do(w.owner, &types.MsgSetPolicy{Owner: owner, Service: cfg.Service, Policy: types.Policy{UpgradeDelay: day, Grace: day, MaxEvidenceAge: 600}}, &types.MsgSetPolicyResponse{})
	w.do(w.owner, &types.MsgSeal{Owner: owner, Service: cfg.Service, Name: "env", Ciphertext: []byte("e")}, &types.MsgSealResponse{})
	m := boot(t, root, cfg)
	grant := w.granted(w.release(m))
	for generation := uint64(1); generation <= 2; generation++ {
		w.do(w.relay, &types.MsgAdvance{
			Relay: w.relay.Address, Grant: grant.Id, Generation: generation,
			Signature: ed25519.Sign(m.session, keys.AdvanceMessage(chainID, [32]byte(grant.Id), generation)),
		}, &types.MsgAdvanceResponse{})
	}
	w.do(w.owner, &types.MsgAcceptRollback{Owner: owner, Service: cfg.Service, VmUid: uid, Generation: 1}, &types.MsgAcceptRollbackResponse{})
	w.refused(w.release(boot(t, root, evil(cfg))), vm.CodePending)
	w.do(w.other, &types.MsgCreateService{Owner: w.other.Address, Name: "bare"}, &types.MsgCreateServiceResponse{})
	w.do(w.other, &types.MsgSeal{Owner: w.other.Address, Service: w.other.Address + "/bare", Name: "registry", Ciphertext: []byte("r")}, &types.MsgSealResponse{})
	w.do(w.other, &types.MsgTransfer{Owner: w.other.Address, Service: w.other.Address + "/bare", To: owner}, &types.MsgTransferResponse{})
	w.do(w.owner, &types.MsgFreeze{Owner: owner, Service: w.other.Address + "/bare"}, &types.MsgFreezeResponse{})
	return w, cfg
}

// TestExportIsTheSameChain: a chain that starts from an export holds the same
// state, byte for byte in each store, and goes on where the other was.
func TestExportIsTheSameChain(t *testing.T) {
	w, cfg := eventful(t)
	exported, err := w.app.Export(0)
	must(t, err)
	genesis, err := json.Marshal(exported)
	must(t, err)
	for _, part := range []string{`"rollback"`, `"pending_policy"`, `"frozen_at"`, `"refusals":[`, `"grants":[`, `"changes":[`, `"pub_key"`, `"shape"`} {
		if !strings.Contains(string(genesis), part) {
			t.Errorf("the export has no %s", part)
		}
	}

	var twins [2]*world
	for i := range twins {
		twin := *w
		twin.db, twin.height, twin.blocks = dbm.NewMemDB(), 0, nil
		twin.app, err = chain.New(log.NewNopLogger(), twin.db, chainID)
		must(t, err)
		initChain(t, twin.app, genesis, twin.now)
		twin.block()
		twins[i] = &twin
	}
	twin := twins[0]
	if a, b := twin.app.LastCommitID().Hash, twins[1].app.LastCommitID().Hash; string(a) != string(b) {
		t.Errorf("two chains of one export have app hashes %x and %x", a, b)
	}
	again, err := twin.app.Export(0)
	must(t, err)
	if b, err := json.Marshal(again); err != nil || string(b) != string(genesis) {
		t.Errorf("the export of the export differs: %v\n%s\n%s", err, genesis, b)
	}
	want, got := chain.StoreDigests(t, w.app), chain.StoreDigests(t, twin.app)
	for _, store := range []string{"acc", "kms", "council"} {
		if want[store] != got[store] || want[store] == "" {
			t.Errorf("store %s is %s in the chain and %s after the export", store, want[store], got[store])
		}
	}

	// It goes on: sequences, delays, the machine's disk.
	if g := twin.granted(twin.release(boot(t, root, cfg))); g.Generation != 1 || len(g.Env) != 0 {
		t.Errorf("grant is %+v", g)
	}
	twin.pass(week)
	if g := twin.granted(twin.release(boot(t, root, evil(cfg)))); g.Image != 1 || len(g.Env) == 0 {
		t.Errorf("after the delay: %+v", g)
	}
	twin.do(twin.other, &types.MsgCreateService{Owner: twin.other.Address, Name: "later"}, &types.MsgCreateServiceResponse{})
}

// TestDamagedExportIsRefused: numbers that do not fit what is there are not
// believed.
func TestDamagedExportIsRefused(t *testing.T) {
	w, _ := eventful(t)
	good, err := w.app.Export(0)
	must(t, err)
	b, err := json.Marshal(good)
	must(t, err)
	for name, change := range map[string]func(*types.GenesisState){
		"lost grant":      func(g *types.GenesisState) { s := service(g, "web"); s.Grants = nil },
		"lost image":      func(g *types.GenesisState) { s := service(g, "web"); s.Images = s.Images[:1] },
		"lost platform":   func(g *types.GenesisState) { s := service(g, "web"); s.Images[1].Platforms = s.Images[1].Platforms[:1] },
		"lost change":     func(g *types.GenesisState) { s := service(g, "web"); s.Changes = s.Changes[1:] },
		"another's grant": func(g *types.GenesisState) { s := service(g, "web"); s.Grants[0].Service = "svm1x/web" },
		"service twice":   func(g *types.GenesisState) { g.Services = append(g.Services, g.Services[0]) },
		"machine":         func(g *types.GenesisState) { s := service(g, "web"); s.Instances[0].VmUid = "x" },
		"owner":           func(g *types.GenesisState) { s := service(g, "web"); s.Service.Owner = "x" },
		"platform twice": func(g *types.GenesisState) {
			s := service(g, "web")
			s.Images[1].Platforms[1] = s.Images[1].Platforms[0]
		},
	} {
		t.Run(name, func(t *testing.T) {
			var g chain.Genesis
			must(t, json.Unmarshal(b, &g))
			change(&g.KMS)
			damaged, err := json.Marshal(g)
			must(t, err)
			app, err := chain.New(log.NewNopLogger(), dbm.NewMemDB(), chainID)
			must(t, err)
			if err := tryInit(app, damaged, w.now); err == nil {
				t.Error("the chain started")
			}
		})
	}
}

func service(g *types.GenesisState, name string) *types.ServiceState {
	for i := range g.Services {
		if g.Services[i].Service.Name == name {
			return &g.Services[i]
		}
	}
	panic("no service " + name)
}
