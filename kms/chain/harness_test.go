package chain_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"sync"
	"testing"
	"time"

	"cosmossdk.io/log/v2"
	abci "github.com/cometbft/cometbft/abci/types"
	cmttypes "github.com/cometbft/cometbft/types"
	dbm "github.com/cosmos/cosmos-db"
	"github.com/cosmos/gogoproto/proto"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/kms/chain"
	committee "github.com/secretvm/secretvm/kms/chain/x/committee/types"
	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/kms/signer"
	"github.com/secretvm/secretvm/kms/wire"
	"github.com/secretvm/secretvm/tee/soft/emulator"
	"github.com/secretvm/secretvm/vm"
)

const (
	chainID = "secretvm-test-1"
	uid     = "00112233445566778899aabbccddeeff"
	gas     = 20_000_000
)

// pki is the development PKI of the package's tests: real certificates and
// real quotes, with a root that no chain accepts by default.
var pki = sync.OnceValues(func() (*emulator.PKI, error) { return emulator.NewPKI(time.Now()) })

// world is a chain without CometBFT: blocks are made by the test, with a clock
// of its own.
type world struct {
	t      testing.TB
	app    *chain.App
	db     dbm.DB
	height int64
	now    time.Time
	blocks []*abci.RequestFinalizeBlock

	owner, other, relay signer.Account
	sequences           map[string]uint64
	group               keys.PublicKey
	share               keys.Share
	genesis             []byte

	watch func(*abci.ResponseFinalizeBlock) // sees every block's results; nil: nobody
}

// newWorld starts a chain that accepts the given roots.
func newWorld(t testing.TB, roots ...string) *world {
	t.Helper()
	w := &world{t: t, db: dbm.NewMemDB(), now: time.Now().UTC().Truncate(time.Second), sequences: map[string]uint64{}}
	for _, account := range []*signer.Account{&w.owner, &w.other, &w.relay} {
		a, err := signer.New()
		must(t, err)
		*account = a
	}
	commitments, shares, err := keys.Split(rand.Reader, 1, 1)
	must(t, err)
	w.group, w.share = commitments.GroupKey(), shares[0]
	params := types.DefaultParams()
	params.TrustRoots = roots
	w.genesis, err = json.Marshal(chain.Genesis{
		Accounts:  []string{w.owner.Address, w.other.Address, w.relay.Address},
		Committee: oneNode(t, w.owner.Address, w.relay.Address, commitments),
		KMS:       types.GenesisState{Params: params},
	})
	must(t, err)
	w.app, err = chain.New(log.NewNopLogger(), w.db, chainID)
	must(t, err)
	initChain(t, w.app, w.genesis, w.now)
	w.block()
	return w
}

// oneNode is a committee of one, that relay signs for.
func oneNode(t testing.TB, operator, relay string, c keys.Commitments) committee.GenesisState {
	t.Helper()
	sealing, err := keys.NewRecipient()
	must(t, err)
	validator, _, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	identity := committee.Identity{Relay: relay, ConsensusKey: validator, SealingKey: sealing.Public()}
	group, err := committee.NewGroup(0, 0, c, []committee.Holder{identity.Holder(1)})
	must(t, err)
	params := committee.DefaultParams(operator)
	params.UnattestedNodes = true
	return committee.GenesisState{
		Params: params, Epochs: []committee.Epoch{{}}, Groups: []committee.Group{group},
		Nodes: []committee.Node{{Index: 1, Operator: operator, Status: committee.NodeActive, Identity: identity}},
	}
}

// softWorld accepts the development root.
func softWorld(t testing.TB) *world {
	t.Helper()
	p, err := pki()
	must(t, err)
	return newWorld(t, types.TrustIntel, string(p.RootPEM()))
}

func initChain(t testing.TB, app *chain.App, genesis []byte, now time.Time) {
	t.Helper()
	must(t, tryInit(app, genesis, now))
}

func tryInit(app *chain.App, genesis []byte, now time.Time) error {
	params := cmttypes.DefaultConsensusParams().ToProto()
	_, err := app.InitChain(&abci.RequestInitChain{ChainId: chainID, InitialHeight: 1, Time: now, AppStateBytes: genesis, ConsensusParams: &params})
	return err
}

// block makes and commits one block, a second after the last.
func (w *world) block(txs ...[]byte) []*abci.ExecTxResult {
	w.t.Helper()
	w.height++
	w.now = w.now.Add(time.Second)
	hash := vm.HashOf(binary.BigEndian.AppendUint64([]byte("block"), uint64(w.height)))
	req := &abci.RequestFinalizeBlock{Height: w.height, Time: w.now, Hash: hash[:], Txs: txs}
	res, err := w.app.FinalizeBlock(req)
	must(w.t, err)
	_, err = w.app.Commit()
	must(w.t, err)
	w.blocks = append(w.blocks, req)
	if w.watch != nil {
		w.watch(res)
	}
	return res.TxResults
}

// sign makes a transaction with the account's next sequence.
func (w *world) sign(from signer.Account, msg sdk.Msg) []byte {
	w.t.Helper()
	ctx, err := w.app.Read()
	must(w.t, err)
	b, err := w.app.Addresses.StringToBytes(from.Address)
	must(w.t, err)
	at := wire.Account{ChainID: chainID, Address: from.Address}
	if a := w.app.Accounts.GetAccount(ctx, b); a != nil {
		at.Number, at.Sequence = a.GetAccountNumber(), a.GetSequence()
	}
	tx, err := from.Sign(w.t.Context(), w.app.Encoding, at, max(gas, types.Gas(msg)), msg)
	must(w.t, err)
	return tx
}

// send puts a message into a block of its own. The code is "" for success.
func (w *world) send(from signer.Account, msg sdk.Msg, into proto.Message) (vm.Code, string) {
	w.t.Helper()
	r := w.block(w.sign(from, msg))[0]
	if r.Code != 0 {
		code, ours := types.CodeOf(r.Codespace, r.Code)
		if !ours {
			code = vm.Code(r.Codespace)
		}
		return code, r.Log
	}
	must(w.t, chain.Response(r.Data, into))
	return "", ""
}

// service registers web with the image of a machine, and returns its config.
func (w *world) service() vm.Config {
	w.t.Helper()
	cfg := w.config()
	if code, text := w.send(w.owner, &types.MsgCreateService{Owner: w.owner.Address, Name: "web"}, &types.MsgCreateServiceResponse{}); code != "" {
		w.t.Fatalf("create service: %s %s", code, text)
	}
	if code, text := w.send(w.owner, w.image(cfg), &types.MsgAddImageResponse{}); code != "" {
		w.t.Fatalf("add image: %s %s", code, text)
	}
	return cfg
}

// config is what the test's machine measures.
func (w *world) config() vm.Config {
	return vm.Config{
		Version: 1, ComposeHash: vm.HashOf([]byte("services: {}\n")), Service: w.owner.Address + "/web",
		KMS:        vm.KMS{ChainID: chainID, GroupKey: w.group.String()},
		InstanceID: uid, TLS: "self", Open: []string{"compose"}, Images: "digest", GPU: "none",
	}
}

// root is the dm-verity root hash of the test's image, launch its registers.
var (
	root   = vm.HashOf([]byte("rootfs"))
	launch = vm.Measurement{MRTD: vm.Register{1}, RTMR: [4]vm.Register{{2}, {3}, {4}}}
)

// image registers a machine with cfg, with what explains RTMR3.
func (w *world) image(cfg vm.Config) *types.MsgAddImage {
	w.t.Helper()
	template, err := cfg.Template().Canonical()
	must(w.t, err)
	rtmr3 := replay(w.t, root, cfg.Template())
	return &types.MsgAddImage{
		Owner: w.owner.Address, Service: cfg.Service, Platforms: []types.Platform{tdxPlatform(launch.MRTD, launch.RTMR[0])}, Rtmr1: launch.RTMR[1][:],
		Rtmr2: launch.RTMR[2][:], Rtmr3: rtmr3[:], Description: "test image", RootHash: root[:], Template: template,
	}
}

func tdxPlatform(mrtd, rtmr0 vm.Register) types.Platform {
	return types.Platform{Tee: string(vm.TDX), Mrtd: mrtd[:], Rtmr0: rtmr0[:], Shape: "2 vCPU 2 GiB"}
}

func replay(t testing.TB, root vm.Hash, cfg vm.Config) vm.Register {
	t.Helper()
	events, err := vm.BootEvents(root, cfg)
	must(t, err)
	registers, err := vm.Replay(events)
	must(t, err)
	return registers[3]
}

// machine is a booted soft TEE with its keys, before its first release.
type machine struct {
	*emulator.Machine
	cfg       vm.Config
	events    []vm.Event
	recipient *keys.Recipient
	session   ed25519.PrivateKey
}

// boot starts a machine that measured root and cfg, as guest-init would.
func boot(t testing.TB, root vm.Hash, cfg vm.Config) *machine {
	t.Helper()
	p, err := pki()
	must(t, err)
	at := launch
	at.MRConfigID, err = cfg.ConfigID()
	must(t, err)
	events, err := vm.BootEvents(root, cfg)
	must(t, err)
	return bootWith(t, p, at, cfg, events)
}

func bootWith(t testing.TB, p *emulator.PKI, at vm.Measurement, cfg vm.Config, events []vm.Event) *machine {
	t.Helper()
	m := &machine{cfg: cfg, events: events}
	var err error
	m.Machine, err = emulator.New(p, at)
	must(t, err)
	for _, e := range events {
		_, err := m.Extend(e.Register, e.Digest)
		must(t, err)
	}
	m.recipient, err = keys.NewRecipient()
	must(t, err)
	_, m.session, err = ed25519.GenerateKey(rand.Reader)
	must(t, err)
	return m
}

// release asks for the machine's disk key with a fresh quote.
func (w *world) release(m *machine) *types.MsgRelease {
	w.t.Helper()
	ctx, err := w.app.Read()
	must(w.t, err)
	anchor, err := w.app.KMS.Newest(ctx)
	must(w.t, err)
	about := vm.Release{ChainID: chainID, InstanceID: m.cfg.InstanceID, HPKEKey: m.recipient.Public(), SessionKey: m.session.Public().(ed25519.PublicKey)}
	copy(about.BlockHash[:], anchor.Hash)
	evidence, err := m.Quote(about.ReportData())
	must(w.t, err)
	evidence.Events = m.events
	config, err := m.cfg.Canonical()
	must(w.t, err)
	msg := &types.MsgRelease{
		Relay: w.relay.Address, Service: m.cfg.Service, VmUid: m.cfg.InstanceID, HpkeKey: about.HPKEKey, SessionKey: about.SessionKey,
		Height: anchor.Height, BlockHash: anchor.Hash, Config: config, Keys: types.FromIDs([]keys.ID{keys.Disk(m.cfg.Service, m.cfg.InstanceID)}),
	}
	must(w.t, msg.SetEvidence(evidence))
	return msg
}

// decide relays a release: a grant, or a recorded refusal, or a transaction
// that failed with a code.
func (w *world) decide(msg *types.MsgRelease) (*types.Grant, *vm.Refusal, vm.Code) {
	w.t.Helper()
	var answer types.MsgReleaseResponse
	if code, _ := w.send(w.relay, msg, &answer); code != "" {
		return nil, nil, code
	}
	if answer.Refusal != nil {
		return nil, answer.Refusal.Refusal(), ""
	}
	return answer.Grant, nil, ""
}

// granted is decide for a release that must succeed.
func (w *world) granted(msg *types.MsgRelease) *types.Grant {
	w.t.Helper()
	grant, refusal, code := w.decide(msg)
	if grant == nil {
		w.t.Fatalf("not granted: %v %s", refusal, code)
	}
	return grant
}

// refused is decide for a release that must be refused, on the ledger, by code.
func (w *world) refused(msg *types.MsgRelease, want vm.Code) *vm.Refusal {
	w.t.Helper()
	grant, refusal, code := w.decide(msg)
	switch {
	case grant != nil:
		w.t.Fatalf("granted, want refusal %s", want)
	case refusal == nil:
		w.t.Fatalf("the transaction failed with %s, want a refusal %s on the ledger", code, want)
	case refusal.Code != want:
		w.t.Fatalf("refused with %v, want %s", refusal, want)
	}
	ctx, err := w.app.Read()
	must(w.t, err)
	grants, refusals, err := w.app.KMS.Log(ctx, msg.Service, 100)
	must(w.t, err)
	if len(refusals) == 0 || refusals[0].Code != string(want) || len(grants) != 0 && grants[0].Height == w.height {
		w.t.Fatalf("the ledger does not show the refusal first: %v", refusals)
	}
	return refusal
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func hexOf(b []byte) string { return hex.EncodeToString(b) }
