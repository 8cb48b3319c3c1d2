package chain_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	errorsmod "cosmossdk.io/errors"
	"cosmossdk.io/log/v2"
	abci "github.com/cometbft/cometbft/abci/types"
	dbm "github.com/cosmos/cosmos-db"
	"github.com/cosmos/gogoproto/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/cosmos/cosmos-sdk/baseapp"
	codectypes "github.com/cosmos/cosmos-sdk/codec/types"
	"github.com/cosmos/cosmos-sdk/crypto/keys/secp256k1"
	pruning "github.com/cosmos/cosmos-sdk/store/v2/pruning/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	sdkerrors "github.com/cosmos/cosmos-sdk/types/errors"
	txtypes "github.com/cosmos/cosmos-sdk/types/tx"
	"github.com/cosmos/cosmos-sdk/types/tx/signing"
	upgradetypes "github.com/cosmos/cosmos-sdk/x/upgrade/types"

	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/keys/dkg"
	"github.com/secretvm/secretvm/kms/chain"
	committee "github.com/secretvm/secretvm/kms/chain/x/committee/types"
	counciltypes "github.com/secretvm/secretvm/kms/chain/x/council/types"
	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/kms/signer"
)

// attacker sends messages that no honest program would, as accounts that may
// send them, and holds the chain to answering every one with a code.
type attacker struct {
	*world
	secrets map[string]*secp256k1.PrivKey
	codes   map[string]int // how often the chain answered so
	looked  map[string]int // how often what was accepted was looked at, by field
	tried   int

	saved dbm.DB // the chain as it was before the attack
	since int    // the number of its blocks
	at    time.Time
}

func newAttacker(w *world, accounts ...signer.Account) *attacker {
	w.t.Helper()
	a := &attacker{world: w, secrets: map[string]*secp256k1.PrivKey{}, codes: map[string]int{}, looked: map[string]int{}}
	for _, account := range accounts {
		path := filepath.Join(w.t.TempDir(), "key.json")
		must(w.t, account.Save(path))
		b, err := os.ReadFile(path)
		must(w.t, err)
		var file struct{ Secret string }
		must(w.t, json.Unmarshal(b, &file))
		secret, err := hex.DecodeString(file.Secret)
		must(w.t, err)
		a.secrets[account.Address] = &secp256k1.PrivKey{Key: secret}
	}
	return a
}

// sign makes a transaction of a message's bytes, whatever they are, with the
// account's sequence of a state.
func (a *attacker) sign(ctx sdk.Context, from, url string, message []byte) []byte {
	a.t.Helper()
	address, err := a.app.Addresses.StringToBytes(from)
	must(a.t, err)
	account := a.app.Accounts.GetAccount(ctx, address)
	key := a.secrets[from]
	public, err := codectypes.NewAnyWithValue(key.PubKey())
	must(a.t, err)
	body, err := proto.Marshal(&txtypes.TxBody{Messages: []*codectypes.Any{{TypeUrl: url, Value: message}}})
	must(a.t, err)
	auth, err := proto.Marshal(&txtypes.AuthInfo{
		SignerInfos: []*txtypes.SignerInfo{{
			PublicKey: public, Sequence: account.GetSequence(),
			ModeInfo: &txtypes.ModeInfo{Sum: &txtypes.ModeInfo_Single_{Single: &txtypes.ModeInfo_Single{Mode: signing.SignMode_SIGN_MODE_DIRECT}}},
		}},
		Fee: &txtypes.Fee{GasLimit: 100_000_000},
	})
	must(a.t, err)
	over, err := proto.Marshal(&txtypes.SignDoc{BodyBytes: body, AuthInfoBytes: auth, ChainId: chainID, AccountNumber: account.GetAccountNumber()})
	must(a.t, err)
	signature, err := key.Sign(over)
	must(a.t, err)
	tx, err := proto.Marshal(&txtypes.TxRaw{BodyBytes: body, AuthInfoBytes: auth, Signatures: [][]byte{signature}})
	must(a.t, err)
	return tx
}

// save remembers the chain as it is, for restore, and keeps all states from here.
func (a *attacker) save() {
	a.t.Helper()
	a.saved, a.since, a.at = a.copied(a.db), len(a.blocks), a.now
	var err error
	a.app, err = chain.New(log.NewNopLogger(), a.db, chainID, baseapp.SetPruning(pruning.NewPruningOptions(pruning.PruningNothing)))
	must(a.t, err)
	a.block() // without one there is no state to read
}

// restore goes back to what was saved.
func (a *attacker) restore() {
	a.t.Helper()
	must(a.t, a.app.CommitMultiStore().RollbackToVersion(int64(a.since)))
	a.blocks, a.height, a.now = a.blocks[:a.since], int64(a.since), a.at
	a.block() // what CheckTx sees is what the last block left
}

func (a *attacker) copied(db dbm.DB) dbm.DB {
	a.t.Helper()
	out := dbm.NewMemDB()
	it, err := db.Iterator(nil, nil)
	must(a.t, err)
	for ; it.Valid(); it.Next() {
		must(a.t, out.Set(it.Key(), it.Value()))
	}
	must(a.t, it.Close())
	return out
}

// raw tries a transaction's bytes as the mempool and a block see them.
func (a *attacker) raw(what string, tx []byte) *abci.ExecTxResult {
	a.t.Helper()
	a.tried++
	checked, err := a.app.CheckTx(&abci.RequestCheckTx{Tx: tx})
	if err != nil {
		a.t.Fatalf("%s: CheckTx failed: %v", what, err)
	}
	a.notPanicked(what+" in CheckTx", checked.Codespace, checked.Code, checked.Log)
	r := a.block(tx)[0]
	a.notPanicked(what+" in a block", r.Codespace, r.Code, r.Log)
	a.codes[fmt.Sprintf("%s/%d", r.Codespace, r.Code)]++
	if r.Codespace == errorsmod.UndefinedCodespace {
		a.t.Errorf("%s: the answer has no code: %.300s", what, r.Log)
	}
	if r.Code == 0 {
		a.aftermath(what)
	}
	return r
}

func (a *attacker) notPanicked(what, codespace string, code uint32, text string) {
	a.t.Helper()
	if codespace == sdkerrors.ErrPanic.Codespace() && code == sdkerrors.ErrPanic.ABCICode() || strings.Contains(text, "recovered:") {
		a.t.Errorf("%s: panicked: %.2000s", what, text)
	}
}

// message tries a message's bytes.
func (a *attacker) message(what, from, url string, message []byte) *abci.ExecTxResult {
	a.t.Helper()
	ctx, err := a.app.Read()
	must(a.t, err)
	return a.raw(what, a.sign(ctx, from, url, message))
}

// aftermath looks at what was accepted, and takes it back: another instance has
// the same state after the same blocks, the chain goes on, and its state can be
// exported and started from.
func (a *attacker) aftermath(what string) {
	a.t.Helper()
	for range 3 {
		a.block()
	}
	field := strings.Split(what, " = ")[0]
	if a.looked[field]++; a.looked[field] > 2 { // it costs more than all the rest
		a.restore()
		return
	}
	want := a.app.LastCommitID().Hash
	g, err := a.app.Export(0)
	if err == nil {
		err = g.Validate()
	}
	if err != nil {
		a.t.Errorf("%s: was accepted, and the state after it is none to start from: %v", what, err)
	}
	app, err := chain.New(log.NewNopLogger(), a.copied(a.saved), chainID)
	must(a.t, err)
	for _, block := range a.blocks[a.since:] {
		if _, err := app.FinalizeBlock(block); err != nil {
			a.t.Fatal(err)
		}
		if _, err := app.Commit(); err != nil {
			a.t.Fatal(err)
		}
	}
	if got := app.LastCommitID().Hash; !bytes.Equal(got, want) {
		a.t.Errorf("%s: app hash is %x on one instance and %x on another", what, want, got)
	}
	a.restore()
}

// attack tries a message with every field hostile.
func (a *attacker) attack(from signer.Account, msg sdk.Msg) {
	a.t.Helper()
	url := sdk.MsgTypeURL(msg)
	base, err := proto.Marshal(msg)
	must(a.t, err)
	if r := a.message(url, from.Address, url, base); r.Code != 0 {
		a.t.Logf("%s as it should be: %s/%d %.200s", url, r.Codespace, r.Code, r.Log)
	}
	d, err := proto.HybridResolver.FindDescriptorByName(protoreflect.FullName(url[1:]))
	must(a.t, err)
	for _, v := range variants(d.(protoreflect.MessageDescriptor), base, 3) {
		a.message(url+" "+v.name, from.Address, url, v.bytes)
	}
}

// TestK8_HostileMessages sends every message of every module with every field
// hostile: empty, huge, of wrong length, no UTF-8, negative, the largest, of
// another type, twice, unknown.
func TestK8_HostileMessages(t *testing.T) {
	w := softWorld(t)
	a := newAttacker(w, w.owner, w.other, w.relay)
	seeds := seeds(a)
	a.save()
	var missing []string
	for _, url := range w.app.Registry.ListImplementations(sdk.MsgInterfaceProtoName) {
		if _, ok := seeds[url]; !ok && w.app.MsgServiceRouter().HandlerByTypeURL(url) != nil {
			missing = append(missing, url)
		}
	}
	if len(missing) != 0 {
		t.Errorf("nobody attacks by %s", missing)
	}
	for _, url := range slices.Sorted(maps.Keys(seeds)) {
		t.Run(url[1:], func(t *testing.T) {
			w.t = t
			a.attack(seeds[url].from, seeds[url].msg)
		})
	}
	w.t = t
	t.Logf("%d transactions, answers %v", a.tried, a.codes)
	if a.tried < 1000 || len(a.codes) < 5 {
		t.Errorf("%d transactions with %d kinds of answers are no attack", a.tried, len(a.codes))
	}
}

// seed is a message as it should be, and who may send it.
type seed struct {
	from signer.Account
	msg  sdk.Msg
}

// seeds makes a message of every type, on a chain where it means something: a
// service with a granted machine, a council with a proposal, a round under way.
func seeds(a *attacker) map[string]seed {
	t := a.t
	cfg := a.service()
	m := boot(t, root, cfg)
	grant := a.granted(a.release(m))
	var made counciltypes.MsgCreateCouncilResponse
	members := []string{a.owner.Address, a.other.Address}
	if code, text := a.send(a.owner, &counciltypes.MsgCreateCouncil{Creator: a.owner.Address, Members: members, Threshold: 2}, &made); code != "" {
		t.Fatal(code, text)
	}
	packed, err := counciltypes.Pack(create(made.Address, "web"))
	must(t, err)
	propose := &counciltypes.MsgPropose{Proposer: a.owner.Address, Council: made.Address, Messages: packed, Title: "t", LifetimeSeconds: 100}
	if code, text := a.send(a.owner, propose, &counciltypes.MsgProposeResponse{}); code != "" {
		t.Fatal(code, text)
	}
	if code, text := a.send(a.owner, &committee.MsgOpenEpoch{Authority: a.owner.Address}, &committee.MsgOpenEpochResponse{}); code != "" {
		t.Fatal(code, text)
	}
	ctx, err := a.app.Read()
	must(t, err)
	params, err := a.app.KMS.Params(ctx)
	must(t, err)
	governance, err := a.app.Committee.Params(ctx)
	must(t, err)
	recipient, err := keys.NewRecipient()
	must(t, err)
	image := a.image(cfg)
	image.Rtmr2, image.Description = bytes.Repeat([]byte{7}, 48), "another"
	signature := ed25519.Sign(m.session, keys.AdvanceMessage(chainID, [32]byte(grant.Id), 1))
	owner, relay := a.owner.Address, a.relay.Address
	policy := types.Policy{UpgradeDelay: 60, TcbStatuses: []string{"UpToDate"}}

	out := map[string]seed{}
	for _, msg := range []sdk.Msg{
		&types.MsgCreateService{Owner: owner, Name: "api", Policy: &policy}, image,
		&types.MsgRevokeImage{Owner: owner, Service: cfg.Service, Reason: "r"},
		&types.MsgSetPolicy{Owner: owner, Service: cfg.Service, Policy: policy},
		&types.MsgFreeze{Owner: owner, Service: cfg.Service},
		&types.MsgSeal{Owner: owner, Service: cfg.Service, Name: "env", Ciphertext: bytes.Repeat([]byte{1}, 200)},
		&types.MsgTransfer{Owner: owner, Service: cfg.Service, To: a.other.Address},
		&types.MsgAcceptRollback{Owner: owner, Service: cfg.Service, VmUid: uid},
		&types.MsgUpdateParams{Authority: owner, Params: params},
		&counciltypes.MsgAdmit{Sender: owner, Addresses: []string{relay}},
		&counciltypes.MsgCreateCouncil{Creator: owner, Members: members, Threshold: 1, Description: "d"}, propose,
		&counciltypes.MsgReject{Member: owner}, &counciltypes.MsgWithdraw{Proposer: owner},
		&committee.MsgJoin{Sender: owner, Operator: owner, Relay: a.other.Address, ConsensusKey: bytes.Repeat([]byte{3}, 32), SealingKey: recipient.Public(), Api: "http://127.0.0.1:1", Peer: strings.Repeat("a", 40) + "@127.0.0.1:1"},
		&committee.MsgRotate{Sender: owner, Index: 1, Relay: relay, ConsensusKey: bytes.Repeat([]byte{4}, 32), SealingKey: recipient.Public()},
		&committee.MsgLeave{Sender: owner, Index: 1}, &committee.MsgRemove{Authority: owner, Index: 1, Reason: "r"},
		&committee.MsgAddress{Sender: owner, Index: 1, Api: "http://127.0.0.1:1"},
		&committee.MsgReshare{Sender: owner}, &committee.MsgOpenEpoch{Authority: owner}, &committee.MsgCloseEpoch{Authority: owner},
		&committee.MsgUpdateParams{Authority: owner, Params: governance},
		&committee.MsgSetRecovery{Authority: owner, Threshold: 1, Recipients: []string{"age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj"}},
		&upgradetypes.MsgSoftwareUpgrade{Authority: owner, Plan: upgradetypes.Plan{Name: "next", Height: a.height + 1000, Info: "i"}},
		&upgradetypes.MsgCancelUpgrade{Authority: owner},
	} {
		out[sdk.MsgTypeURL(msg)] = seed{a.owner, msg}
	}
	for _, msg := range []sdk.Msg{
		a.release(boot(t, root, cfg)), &types.MsgAdvance{Relay: relay, Grant: grant.Id, Generation: 1, Signature: signature},
		&committee.MsgPrepare{Relay: relay, Round: 1, Key: recipient.Public()}, &committee.MsgDeal{Relay: relay, Round: 1, Deal: bytes.Repeat([]byte{1}, 300)},
		&committee.MsgComplain{Relay: relay, Round: 1}, &committee.MsgJustify{Relay: relay, Round: 1},
		&committee.MsgBackup{Relay: relay, Backup: bytes.Repeat([]byte{1}, 300)},
	} {
		out[sdk.MsgTypeURL(msg)] = seed{a.relay, msg}
	}
	approve := &counciltypes.MsgApprove{Member: a.other.Address}
	out[sdk.MsgTypeURL(approve)] = seed{a.other, approve}
	// Only a council itself changes its members: of one, by a proposal.
	set := &counciltypes.MsgSetMembers{Council: owner, Members: members, Threshold: 1}
	out[sdk.MsgTypeURL(set)] = seed{a.owner, set}
	return out
}

// TestK8_HostileRounds sends what nodes say to one another with every field
// hostile, each in the phase in which it means something.
func TestK8_HostileRounds(t *testing.T) {
	c := newTroupe(t, 4)
	first := c.players[0]
	// Somebody complains about the first for nothing, so that it has to answer.
	c.players[1].say = func(_ *player, _ dkg.Round, phase committee.Phase, honest sdk.Msg) sdk.Msg {
		if m, ok := honest.(*committee.MsgComplain); ok && phase == committee.PhaseComplain {
			m.Complaint.Dealers = []uint32{first.index}
		}
		return honest
	}
	a := newAttacker(c.world, first.account)
	for _, want := range []sdk.Msg{&committee.MsgPrepare{}, &committee.MsgDeal{}, &committee.MsgComplain{}, &committee.MsgJustify{}} {
		url := sdk.MsgTypeURL(want)
		t.Run(url[1:], func(t *testing.T) {
			var honest sdk.Msg
			if !c.play(20, func() bool {
				honest = c.part(first)
				return honest != nil && sdk.MsgTypeURL(honest) == url
			}) {
				t.Fatal("the first player never has to say this")
			}
			c.t = t
			a.save()
			a.attack(first.account, honest)
			a.restore()
		})
	}
	c.t = t
	if !c.play(40, func() bool { _, ok := c.group(); return ok }) {
		t.Error("the round did not end")
	}
	t.Logf("%d transactions, answers %v", a.tried, a.codes)
}

// FuzzTransaction: whatever bytes come as a transaction, they are answered with
// a code. The first byte chooses what they are: a whole transaction, or a
// message of some type, signed by who may send it.
func FuzzTransaction(f *testing.F) {
	w := softWorld(f)
	a := newAttacker(w, w.owner, w.other, w.relay)
	seeds := seeds(a)
	urls := slices.Sorted(maps.Keys(seeds))
	for i, url := range urls {
		b, err := proto.Marshal(seeds[url].msg)
		must(f, err)
		f.Add(uint8(i+1), b)
	}
	f.Add(uint8(0), w.sign(w.owner, create(w.owner.Address, "fuzzed")))
	a.save()
	f.Fuzz(func(t *testing.T, kind uint8, b []byte) {
		w.t = t
		if len(a.blocks)-a.since > 2000 {
			a.restore()
		}
		if i := int(kind) % (len(urls) + 1); i == 0 {
			a.raw("noise", b)
		} else {
			a.message(urls[i-1], seeds[urls[i-1]].from.Address, urls[i-1], b)
		}
	})
}
