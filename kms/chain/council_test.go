package chain_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"cosmossdk.io/log/v2"
	dbm "github.com/cosmos/cosmos-db"
	"github.com/cosmos/gogoproto/proto"

	codectypes "github.com/cosmos/cosmos-sdk/codec/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/types/query"

	"github.com/secretvm/secretvm/kms/chain"
	"github.com/secretvm/secretvm/kms/chain/x/council"
	counciltypes "github.com/secretvm/secretvm/kms/chain/x/council/types"
	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/kms/signer"
	"github.com/secretvm/secretvm/vm"
)

// assembly is a world with a council of three, of whom two agree.
type assembly struct {
	*world
	members [3]signer.Account
	council string
}

func newAssembly(t *testing.T) *assembly {
	t.Helper()
	a := &assembly{world: softWorld(t)}
	for i := range a.members {
		var err error
		a.members[i], err = signer.New()
		must(t, err)
	}
	a.council = a.found(a.owner, 2, a.members[0].Address, a.members[1].Address, a.members[2].Address)
	return a
}

// found makes a council.
func (a *assembly) found(by signer.Account, threshold uint32, members ...string) string {
	a.t.Helper()
	var answer counciltypes.MsgCreateCouncilResponse
	a.must(by, &counciltypes.MsgCreateCouncil{Creator: by.Address, Members: members, Threshold: threshold}, &answer)
	return answer.Address
}

// must sends a message that has to succeed.
func (a *assembly) must(from signer.Account, msg sdk.Msg, into proto.Message) {
	a.t.Helper()
	if code, text := a.send(from, msg, into); code != "" {
		a.t.Fatalf("%s: %s %s", sdk.MsgTypeURL(msg), code, text)
	}
}

func (a *assembly) propose(from signer.Account, council string, msgs ...sdk.Msg) *counciltypes.MsgProposeResponse {
	a.t.Helper()
	packed, err := counciltypes.Pack(msgs...)
	must(a.t, err)
	answer := &counciltypes.MsgProposeResponse{}
	a.must(from, &counciltypes.MsgPropose{Proposer: from.Address, Council: council, Messages: packed, Title: "test"}, answer)
	return answer
}

func (a *assembly) approve(from signer.Account, proposal uint64) *counciltypes.MsgApproveResponse {
	a.t.Helper()
	answer := &counciltypes.MsgApproveResponse{}
	a.must(from, &counciltypes.MsgApprove{Member: from.Address, Proposal: proposal}, answer)
	return answer
}

// refuses sends a message that has to fail with a code.
func (a *assembly) refuses(want vm.Code, from signer.Account, msg sdk.Msg) {
	a.t.Helper()
	if code, text := a.send(from, msg, nil); code != want {
		a.t.Fatalf("%s: code is %q (%s), want %q", sdk.MsgTypeURL(msg), code, text, want)
	}
}

// create is a message that a council may sign.
func create(owner, name string) sdk.Msg { return &types.MsgCreateService{Owner: owner, Name: name} }

func (a *assembly) exists(service string) bool {
	a.t.Helper()
	ctx, err := a.app.Read()
	must(a.t, err)
	_, err = a.app.KMS.Service(ctx, service)
	return err == nil
}

func (a *assembly) state() counciltypes.GenesisState {
	a.t.Helper()
	ctx, err := a.app.Read()
	must(a.t, err)
	g, err := a.app.Council.ExportGenesis(ctx)
	must(a.t, err)
	must(a.t, g.Validate())
	return g
}

// TestCouncilNeedsItsThreshold: m of n act, m-1 do not, however often they say so.
func TestCouncilNeedsItsThreshold(t *testing.T) {
	a := newAssembly(t)
	p := a.propose(a.members[0], a.council, create(a.council, "web"), create(a.council, "api"))
	if p.Status != counciltypes.STATUS_OPEN {
		t.Fatalf("after one approval of two the proposal is %s", p.Status)
	}
	for range 3 {
		if r := a.approve(a.members[0], p.Proposal); r.Status != counciltypes.STATUS_OPEN {
			t.Fatalf("the same member again: %s", r.Status)
		}
	}
	a.refuses(vm.CodePermission, a.other, &counciltypes.MsgApprove{Member: a.other.Address, Proposal: p.Proposal})
	if a.exists(a.council + "/web") {
		t.Fatal("one member of three made a service")
	}
	if r := a.approve(a.members[2], p.Proposal); r.Status != counciltypes.STATUS_EXECUTED || r.Failure != nil {
		t.Fatalf("after two approvals: %+v", r)
	}
	if !a.exists(a.council+"/web") || !a.exists(a.council+"/api") {
		t.Error("the messages were not executed")
	}
	a.refuses(vm.CodeStale, a.members[1], &counciltypes.MsgApprove{Member: a.members[1].Address, Proposal: p.Proposal})
	a.refuses(vm.CodeInvalid, a.members[1], &counciltypes.MsgApprove{Member: a.members[1].Address, Proposal: 99})
}

// TestCouncilOwnsAService: from the first image to a release, with the council's
// address where an owner's is, and nobody else adds an image.
func TestCouncilOwnsAService(t *testing.T) {
	a := newAssembly(t)
	cfg := a.config()
	cfg.Service = a.council + "/web"
	image := a.image(cfg)
	image.Owner = a.council
	p := a.propose(a.members[1], a.council, create(a.council, "web"), image)
	if r := a.approve(a.members[0], p.Proposal); r.Status != counciltypes.STATUS_EXECUTED {
		t.Fatalf("result is %+v", r)
	}
	a.granted(a.release(boot(t, root, cfg)))
	theirs := *image
	theirs.Owner, theirs.Rtmr3, theirs.Template, theirs.RootHash = a.members[0].Address, bytes.Repeat([]byte{5}, 48), nil, nil
	a.refuses(vm.CodePermission, a.members[0], &theirs)
}

// TestCouncilExecutesAllOrNothing: a message that fails undoes those before it,
// and the ledger says which, and why.
func TestCouncilExecutesAllOrNothing(t *testing.T) {
	a := newAssembly(t)
	p := a.propose(a.members[0], a.council, create(a.council, "web"), create(a.council, "web"))
	r := a.approve(a.members[1], p.Proposal)
	if r.Status != counciltypes.STATUS_FAILED || r.Failure == nil || r.Failure.Message != 1 || r.Failure.Codespace != types.ModuleName || !strings.Contains(r.Failure.Reason, "already") {
		t.Fatalf("result is %+v", r)
	}
	if a.exists(a.council + "/web") {
		t.Error("the first message of a failed proposal took effect")
	}
	if g := a.state(); g.Proposals[0].Status != counciltypes.STATUS_FAILED || g.Proposals[0].Failure.Reason != r.Failure.Reason || g.Councils[0].Open != 0 {
		t.Errorf("the ledger says %+v", g.Proposals[0])
	}
	a.refuses(vm.CodeStale, a.members[2], &counciltypes.MsgApprove{Member: a.members[2].Address, Proposal: p.Proposal})
}

func TestCouncilExpires(t *testing.T) {
	a := newAssembly(t)
	packed, err := counciltypes.Pack(create(a.council, "web"))
	must(t, err)
	propose := &counciltypes.MsgPropose{Proposer: a.members[0].Address, Council: a.council, Messages: packed, LifetimeSeconds: counciltypes.MinLifetime}
	var p counciltypes.MsgProposeResponse
	a.must(a.members[0], propose, &p)
	a.now = a.now.Add((counciltypes.MinLifetime - 1) * time.Second) // the next block is at the very end
	a.refuses(vm.CodeExpired, a.members[1], &counciltypes.MsgApprove{Member: a.members[1].Address, Proposal: p.Proposal})
	if got := a.state().Proposals[0]; got.Status != counciltypes.STATUS_EXPIRED || a.exists(a.council+"/web") {
		t.Errorf("the ledger says %+v", got)
	}
	a.block()
	if c := a.state().Councils[0]; c.Open != 0 || c.Closed != 1 {
		t.Errorf("the council is %+v", c)
	}
	for _, lifetime := range []uint64{1, counciltypes.MinLifetime - 1, counciltypes.MaxLifetime + 1, 1 << 63} {
		propose.LifetimeSeconds = lifetime
		a.refuses(vm.CodeInvalid, a.members[0], propose)
	}
}

func TestCouncilRejectsAndWithdraws(t *testing.T) {
	a := newAssembly(t)
	p := a.propose(a.members[0], a.council, create(a.council, "web"))
	reject := func(m signer.Account) counciltypes.Status {
		var r counciltypes.MsgRejectResponse
		a.must(m, &counciltypes.MsgReject{Member: m.Address, Proposal: p.Proposal}, &r)
		return r.Status
	}
	if s := reject(a.members[0]); s != counciltypes.STATUS_OPEN { // takes the approval back
		t.Fatalf("status is %s", s)
	}
	if r := a.approve(a.members[1], p.Proposal); r.Status != counciltypes.STATUS_OPEN {
		t.Fatalf("one yes and one no: %s", r.Status)
	}
	if s := reject(a.members[2]); s != counciltypes.STATUS_REJECTED {
		t.Fatalf("two of three said no: %s", s)
	}
	p = a.propose(a.members[0], a.council, create(a.council, "web"))
	a.refuses(vm.CodePermission, a.members[1], &counciltypes.MsgWithdraw{Proposer: a.members[1].Address, Proposal: p.Proposal})
	a.must(a.members[0], &counciltypes.MsgWithdraw{Proposer: a.members[0].Address, Proposal: p.Proposal}, &counciltypes.MsgWithdrawResponse{})
	a.refuses(vm.CodeStale, a.members[1], &counciltypes.MsgApprove{Member: a.members[1].Address, Proposal: p.Proposal})
	if a.exists(a.council + "/web") {
		t.Error("a rejected or withdrawn proposal took effect")
	}
}

// TestCouncilChangesItself by its own proposal alone, which ends all others.
func TestCouncilChangesItself(t *testing.T) {
	a := newAssembly(t)
	direct := &counciltypes.MsgSetMembers{Council: a.members[0].Address, Members: []string{a.members[0].Address}, Threshold: 1}
	a.refuses(vm.CodeInvalid, a.members[0], direct)
	direct.Council = a.council
	if code, _ := a.send(a.members[0], direct, nil); code == "" {
		t.Fatal("a member signed in the name of the council")
	}
	pending := a.propose(a.members[0], a.council, create(a.council, "web"))
	change := a.propose(a.members[0], a.council, &counciltypes.MsgSetMembers{Council: a.council, Members: []string{a.other.Address, a.members[1].Address}, Threshold: 1})
	if r := a.approve(a.members[1], change.Proposal); r.Status != counciltypes.STATUS_EXECUTED {
		t.Fatalf("result is %+v", r)
	}
	if got := a.state().Proposals[0].Status; got != counciltypes.STATUS_SUPERSEDED {
		t.Errorf("the other proposal is %s", got)
	}
	a.refuses(vm.CodeStale, a.members[1], &counciltypes.MsgApprove{Member: a.members[1].Address, Proposal: pending.Proposal})
	a.refuses(vm.CodePermission, a.members[0], &counciltypes.MsgPropose{Proposer: a.members[0].Address, Council: a.council, Messages: pack(t, create(a.council, "web"))})
	if p := a.propose(a.other, a.council, create(a.council, "web")); p.Status != counciltypes.STATUS_EXECUTED || !a.exists(a.council+"/web") {
		t.Errorf("with a threshold of one a proposal is %s", p.Status)
	}
}

func pack(t *testing.T, msgs ...sdk.Msg) []*codectypes.Any {
	t.Helper()
	packed, err := counciltypes.Pack(msgs...)
	must(t, err)
	return packed
}

// TestCouncilSignsForItselfAlone: messages of others, or of nobody, cannot be
// proposed, nor what this chain does not execute.
func TestCouncilSignsForItselfAlone(t *testing.T) {
	a := newAssembly(t)
	for name, tt := range map[string]struct {
		msg  sdk.Msg
		want vm.Code
	}{
		"another's service":  {create(a.owner.Address, "web"), vm.CodePermission},
		"the proposer's own": {create(a.members[0].Address, "web"), vm.CodePermission},
		"no valid message":   {create(a.council, "Web"), vm.CodeInvalid},
		"itself as a member": {&counciltypes.MsgSetMembers{Council: a.council, Members: []string{a.council}, Threshold: 1}, ""},
	} {
		propose := &counciltypes.MsgPropose{Proposer: a.members[0].Address, Council: a.council, Messages: pack(t, tt.msg)}
		if code, text := a.send(a.members[0], propose, &counciltypes.MsgProposeResponse{}); code != tt.want {
			t.Errorf("%s: code is %q (%s), want %q", name, code, text, tt.want)
		}
	}
	if r := a.approve(a.members[1], 0); r.Status != counciltypes.STATUS_FAILED {
		t.Errorf("a council became its own member: %+v", r)
	}
	nothing := &counciltypes.MsgPropose{Proposer: a.members[0].Address, Council: a.council}
	a.refuses(vm.CodeInvalid, a.members[0], nothing)
	nothing.Messages = slices.Repeat(pack(t, create(a.council, "web")), counciltypes.MaxMessages+1)
	a.refuses(vm.CodeInvalid, a.members[0], nothing)
	nothing.Messages, nothing.Council = nothing.Messages[:1], a.members[0].Address
	a.refuses(vm.CodeInvalid, a.members[0], nothing)
}

// TestCouncilsNest: a council is a member of another, and that of a third, but
// executions within executions are bounded, and what is too deep changes nothing.
func TestCouncilsNest(t *testing.T) {
	a := newAssembly(t)
	boss := a.members[0]
	chainOf := []string{a.found(a.owner, 1, boss.Address)}
	for range counciltypes.MaxDepth {
		chainOf = append(chainOf, a.found(a.owner, 2, boss.Address, chainOf[len(chainOf)-1]))
	}
	// Every council below approves, by a proposal of its own, the one above.
	climb := func(top int, name string) (uint64, *counciltypes.MsgProposeResponse) {
		target := a.propose(boss, chainOf[top], create(chainOf[top], name)).Proposal
		var last *counciltypes.MsgProposeResponse
		above := target
		for i := top - 1; i >= 0; i-- {
			last = a.propose(boss, chainOf[i], &counciltypes.MsgApprove{Member: chainOf[i], Proposal: above})
			above = last.Proposal
		}
		return target, last
	}
	target, last := climb(counciltypes.MaxDepth-1, "deep")
	if last.Status != counciltypes.STATUS_EXECUTED || !a.exists(chainOf[counciltypes.MaxDepth-1]+"/deep") {
		t.Fatalf("proposal %d was not executed by councils within councils: %+v", target, last)
	}
	_, last = climb(counciltypes.MaxDepth, "deeper")
	if last.Status != counciltypes.STATUS_EXECUTED && last.Status != counciltypes.STATUS_FAILED {
		t.Fatalf("status is %s", last.Status)
	}
	if a.exists(chainOf[counciltypes.MaxDepth] + "/deeper") {
		t.Error("executions within executions are not bounded")
	}
	a.state()
}

// TestCouncilProposalsAreBounded: so many are open at a time, so many are kept.
func TestCouncilProposalsAreBounded(t *testing.T) {
	a := newAssembly(t)
	for range counciltypes.MaxOpen {
		a.propose(a.members[0], a.council, create(a.council, "web"))
	}
	a.refuses(vm.CodeTooLarge, a.members[1], &counciltypes.MsgPropose{Proposer: a.members[1].Address, Council: a.council, Messages: pack(t, create(a.council, "web"))})
	solo := a.found(a.owner, 1, a.members[0].Address)
	for i := range counciltypes.MaxClosed + 5 {
		a.propose(a.members[0], solo, create(solo, fmt.Sprintf("s%d", i)))
	}
	kept := 0
	for _, p := range a.state().Proposals {
		if p.Council == solo {
			kept++
		}
	}
	if kept != counciltypes.MaxClosed {
		t.Errorf("%d closed proposals are kept, want %d", kept, counciltypes.MaxClosed)
	}
}

// TestCouncilCreation refuses what could never agree, or agree twice.
func TestCouncilCreation(t *testing.T) {
	a := newAssembly(t)
	m := []string{a.members[0].Address, a.members[1].Address}
	for name, tt := range map[string]struct {
		members   []string
		threshold uint32
		want      vm.Code
	}{
		"nobody":                {nil, 0, vm.CodeInvalid},
		"threshold zero":        {m, 0, vm.CodeInvalid},
		"threshold too high":    {m, 3, vm.CodeInvalid},
		"member twice":          {[]string{m[0], m[0]}, 2, vm.CodeInvalid},
		"twice in two spelling": {[]string{m[0], strings.ToUpper(m[0])}, 2, vm.CodeInvalid},
		"no address":            {[]string{"svm1x"}, 1, vm.CodeInvalid},
		"too many":              {slices.Repeat(m, 17), 1, vm.CodeInvalid},
		"good":                  {m, 2, ""},
	} {
		msg := &counciltypes.MsgCreateCouncil{Creator: a.owner.Address, Members: tt.members, Threshold: tt.threshold}
		if code, text := a.send(a.owner, msg, &counciltypes.MsgCreateCouncilResponse{}); code != tt.want {
			t.Errorf("%s: code is %q (%s), want %q", name, code, text, tt.want)
		}
	}
}

// TestAdmittedAccountsVouch: who has an account gives others one.
func TestAdmittedAccountsVouch(t *testing.T) {
	a := newAssembly(t)
	stranger, err := signer.New()
	must(t, err)
	if code, _ := a.send(stranger, create(stranger.Address, "web"), nil); code == "" {
		t.Fatal("a stranger sent a transaction")
	}
	a.must(a.other, &counciltypes.MsgAdmit{Sender: a.other.Address, Addresses: []string{stranger.Address, a.owner.Address, a.council}}, &counciltypes.MsgAdmitResponse{})
	a.must(stranger, create(stranger.Address, "web"), &types.MsgCreateServiceResponse{})
	ctx, err := a.app.Read()
	must(t, err)
	b, err := a.app.Addresses.StringToBytes(a.council)
	must(t, err)
	if a.app.Accounts.HasAccount(ctx, b) {
		t.Error("a council got an account")
	}
}

// TestCouncilGenesisRoundTrips: what is exported starts a chain with the same
// councils, on which an open proposal can still be approved.
func TestCouncilGenesisRoundTrips(t *testing.T) {
	a := newAssembly(t)
	done := a.propose(a.members[0], a.council, create(a.council, "done"))
	a.approve(a.members[1], done.Proposal)
	open := a.propose(a.members[0], a.council, create(a.council, "web"))
	want := a.state()

	var g chain.Genesis
	must(t, json.Unmarshal(a.genesis, &g))
	g.Council = want
	for _, m := range a.members {
		g.Accounts = append(g.Accounts, m.Address)
	}
	var err error
	a.genesis, err = json.Marshal(g)
	must(t, err)
	a.db, a.height = dbm.NewMemDB(), 0
	a.app, err = chain.New(log.NewNopLogger(), a.db, chainID)
	must(t, err)
	initChain(t, a.app, a.genesis, a.now)
	a.block()
	if got := a.state(); !sameJSON(t, got, want) {
		t.Errorf("imported %+v, want %+v", got, want)
	}
	if r := a.approve(a.members[2], open.Proposal); r.Status != counciltypes.STATUS_EXECUTED || !a.exists(a.council+"/web") {
		t.Errorf("the open proposal: %+v", r)
	}
	for name, damage := range map[string]func(*counciltypes.GenesisState){
		"another's address": func(g *counciltypes.GenesisState) { g.Councils[0].Address = a.owner.Address },
		"id of the future":  func(g *counciltypes.GenesisState) { g.NextCouncil = 0 },
		"no council":        func(g *counciltypes.GenesisState) { g.Proposals[0].Council = "x" },
		"wrong count":       func(g *counciltypes.GenesisState) { g.Councils[0].Open++ },
		"vote of a stranger": func(g *counciltypes.GenesisState) {
			g.Proposals[1].Approvals = []string{a.other.Address}
		},
		"approved, and open": func(g *counciltypes.GenesisState) { g.Councils[0].Threshold = 1 },
		"status":             func(g *counciltypes.GenesisState) { g.Proposals[0].Status = 99 },
	} {
		b, err := json.Marshal(want)
		must(t, err)
		var damaged counciltypes.GenesisState
		must(t, json.Unmarshal(b, &damaged))
		damage(&damaged)
		if damaged.Validate() == nil {
			t.Errorf("%s: was taken", name)
		}
	}
}

func sameJSON(t *testing.T, a, b any) bool {
	t.Helper()
	x, err := json.Marshal(a)
	must(t, err)
	y, err := json.Marshal(b)
	must(t, err)
	return bytes.Equal(x, y)
}

// TestCouncilQueries reads by page.
func TestCouncilQueries(t *testing.T) {
	a := newAssembly(t)
	for range 3 {
		a.found(a.owner, 1, a.members[0].Address)
	}
	for range 5 {
		a.propose(a.members[0], a.council, create(a.council, "web"))
	}
	ctx, err := a.app.Read()
	must(t, err)
	q := council.NewQueryServer(a.app.Council)
	mine, err := q.Councils(ctx, &counciltypes.QueryCouncilsRequest{Member: a.members[0].Address, Pagination: &query.PageRequest{Limit: 3}})
	must(t, err)
	rest, err := q.Councils(ctx, &counciltypes.QueryCouncilsRequest{Member: a.members[0].Address, Pagination: &query.PageRequest{Key: mine.Pagination.NextKey}})
	must(t, err)
	if len(mine.Councils) != 3 || len(rest.Councils) != 1 || rest.Councils[0].Address <= mine.Councils[2].Address {
		t.Errorf("%d and %d councils, want 3 and 1", len(mine.Councils), len(rest.Councils))
	}
	open, err := q.Proposals(ctx, &counciltypes.QueryProposalsRequest{Council: a.council, Open: true, Pagination: &query.PageRequest{Reverse: true, Limit: 2}})
	must(t, err)
	if len(open.Proposals) != 2 || open.Proposals[0].Id != 4 || open.Proposals[0].Messages[0].GetCachedValue() == nil {
		t.Errorf("proposals are %+v", open.Proposals)
	}
	if _, err := q.Proposals(ctx, &counciltypes.QueryProposalsRequest{Council: "x"}); err == nil {
		t.Error("no council has proposals")
	}
	if _, err := q.Councils(ctx, &counciltypes.QueryCouncilsRequest{Pagination: &query.PageRequest{Key: []byte{1}, Offset: 1}}); err == nil {
		t.Error("a page by key and offset was read")
	}
}
