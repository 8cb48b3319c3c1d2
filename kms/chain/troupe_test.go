package chain_test

import (
	"crypto/rand"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"cosmossdk.io/log/v2"
	dbm "github.com/cosmos/cosmos-db"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/keys/dkg"
	"github.com/secretvm/secretvm/kms/chain"
	committee "github.com/secretvm/secretvm/kms/chain/x/committee/types"
	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/kms/signer"
)

// player is a node without a process: it acts in rounds as its hooks let it.
type player struct {
	index   uint32
	account signer.Account
	sealing *keys.Recipient
	fresh   map[uint64]*keys.Recipient // by round
	seeds   map[uint64]dkg.Seed
	shares  map[uint64]keys.Share // by the round that made the sharing

	// say changes what an honest node would say, or returns nil to say nothing.
	say func(p *player, r dkg.Round, phase committee.Phase, honest sdk.Msg) sdk.Msg
}

// troupe is a chain of many nodes, blocks made by the test.
type troupe struct {
	*world
	players []*player
	faults  []string // what the chain refused of what players said
}

// newTroupe starts a chain of n nodes that has no key yet.
func newTroupe(t *testing.T, n int, change ...func(*chain.Genesis)) *troupe {
	t.Helper()
	w := &world{t: t, db: dbm.NewMemDB(), now: time.Now().UTC().Truncate(time.Second), sequences: map[string]uint64{}}
	for _, account := range []*signer.Account{&w.owner, &w.other, &w.relay} {
		a, err := signer.New()
		must(t, err)
		*account = a
	}
	c := &troupe{world: w}
	state := chain.Genesis{Accounts: []string{w.owner.Address, w.other.Address}, KMS: types.GenesisState{Params: types.DefaultParams()}}
	state.Committee.Params = committee.DefaultParams(w.owner.Address)
	state.Committee.Params.UnattestedNodes = true
	state.Committee.Params.PhaseBlocks, state.Committee.Params.PhaseSeconds, state.Committee.Params.RetrySeconds = 3, 3, 2
	state.Committee.Epochs = []committee.Epoch{{}}
	for range n {
		p, node := c.recruit(w.owner.Address)
		state.Accounts = append(state.Accounts, p.account.Address)
		state.Committee.Nodes = append(state.Committee.Nodes, node)
	}
	for _, f := range change {
		f(&state)
	}
	var err error
	w.genesis, err = json.Marshal(state)
	must(t, err)
	w.app, err = chain.New(log.NewNopLogger(), w.db, chainID)
	must(t, err)
	initChain(t, w.app, w.genesis, w.now)
	w.block()
	return c
}

// recruit makes another player, and the node that it will be.
func (c *troupe) recruit(operator string) (*player, committee.Node) {
	c.t.Helper()
	account, err := signer.New()
	must(c.t, err)
	sealing, err := keys.NewRecipient()
	must(c.t, err)
	validator := make([]byte, 32)
	_, err = rand.Read(validator)
	must(c.t, err)
	p := &player{
		index: uint32(len(c.players) + 1), account: account, sealing: sealing,
		fresh: map[uint64]*keys.Recipient{}, seeds: map[uint64]dkg.Seed{}, shares: map[uint64]keys.Share{},
	}
	c.players = append(c.players, p)
	return p, committee.Node{
		Index: p.index, Operator: operator, Status: committee.NodeActive,
		Identity: committee.Identity{Relay: account.Address, ConsensusKey: validator, SealingKey: sealing.Public()},
	}
}

// open returns the round that is under way.
func (c *troupe) open() (committee.Round, bool) {
	c.t.Helper()
	ctx, err := c.app.Read()
	must(c.t, err)
	r, open, err := c.app.Committee.OpenRound(ctx)
	must(c.t, err)
	return r, open
}

// group returns how epoch 0 is shared; ok is false while it has no key.
func (c *troupe) group() (g committee.Group, ok bool) {
	c.t.Helper()
	ctx, err := c.app.Read()
	must(c.t, err)
	g, err = c.app.Committee.Group(ctx, 0)
	return g, err == nil
}

// play makes blocks, in which everybody says what it has to say, until done or
// for as many as limit.
func (c *troupe) play(limit int, done func() bool) bool {
	c.t.Helper()
	for range limit {
		if done() {
			return true
		}
		var txs [][]byte
		for _, p := range c.players {
			if msg := c.part(p); msg != nil {
				txs = append(txs, c.sign(p.account, msg))
			}
		}
		for _, r := range c.block(txs...) {
			if r.Code != 0 {
				c.faults = append(c.faults, r.Log)
			}
		}
		c.take()
	}
	return done()
}

// part is what a player says now.
func (c *troupe) part(p *player) sdk.Msg {
	c.t.Helper()
	r, open := c.open()
	if !open {
		return nil
	}
	ctx, err := c.app.Read()
	must(c.t, err)
	t, err := c.app.Committee.Transcript(ctx, r.Id)
	must(c.t, err)
	a, err := r.Arithmetic(chainID)
	must(c.t, err)
	_, holder := r.Holder(p.index)
	dealer := slices.Contains(r.Dealers, p.index)
	var honest sdk.Msg
	switch {
	case r.Phase == committee.PhasePrepare && holder && t.Fresh[p.index] == nil:
		if p.fresh[r.Id] == nil {
			p.fresh[r.Id], err = keys.NewRecipient()
			must(c.t, err)
		}
		honest = &committee.MsgPrepare{Relay: p.account.Address, Round: r.Id, Key: p.fresh[r.Id].Public()}
	case r.Phase == committee.PhaseDeal && dealer && t.Deals[p.index] == nil:
		if p.hasShare(c, r) {
			deal, err := c.dealer(p, r, a).Deal(rand.Reader)
			must(c.t, err)
			honest = &committee.MsgDeal{Relay: p.account.Address, Round: r.Id, Deal: deal.Encode()}
		}
	case r.Phase == committee.PhaseComplain && holder && !t.HasComplained(p.index):
		deals, _, _, err := t.Posted(r)
		must(c.t, err)
		msg := &committee.MsgComplain{Relay: p.account.Address, Round: r.Id}
		for _, d := range deals {
			if _, err := a.Open(d, p.index, p.key(r)); err != nil {
				msg.Complaint.Dealers = append(msg.Complaint.Dealers, d.Dealer)
			}
		}
		honest = msg
	case r.Phase == committee.PhaseJustify && dealer && len(t.Accused()[p.index]) != 0 && !t.HasAnswered(p.index):
		_, complaints, _, err := t.Posted(r)
		must(c.t, err)
		answers, err := c.dealer(p, r, a).Justify(complaints)
		if err != nil {
			return nil
		}
		msg := &committee.MsgJustify{Relay: p.account.Address, Round: r.Id}
		for _, j := range answers {
			msg.Justification.Shares = append(msg.Justification.Shares, committee.RevealedShare{Holder: j.Member, Scalar: j.Share[:]})
		}
		honest = msg
	default:
		return nil
	}
	if p.say != nil {
		return p.say(p, a, r.Phase, honest)
	}
	return honest
}

// key is what a player's shares of a round are sealed to.
func (p *player) key(r committee.Round) *keys.Recipient {
	if h, _ := r.Holder(p.index); p.fresh[r.Id] != nil && slices.Equal(h.SealingKey, p.fresh[r.Id].Public()) {
		return p.fresh[r.Id]
	}
	return p.sealing
}

// hasShare reports whether a player can deal.
func (p *player) hasShare(c *troupe, r committee.Round) bool {
	if r.Kind == committee.RoundGenerate {
		return true
	}
	g, _ := c.group()
	_, ok := p.shares[g.Round]
	return ok
}

func (c *troupe) dealer(p *player, r committee.Round, a dkg.Round) *dkg.Dealer {
	c.t.Helper()
	seed, drawn := p.seeds[r.Id]
	if !drawn {
		var err error
		seed, err = dkg.NewSeed(rand.Reader)
		must(c.t, err)
		p.seeds[r.Id] = seed
	}
	var share *keys.Share
	if r.Kind == committee.RoundReshare {
		g, _ := c.group()
		s := p.shares[g.Round]
		share = &s
	}
	d, err := a.NewDealer(p.index, seed, share)
	must(c.t, err)
	return d
}

// take lets all members compute their shares of the present group.
func (c *troupe) take() {
	c.t.Helper()
	g, ok := c.group()
	if !ok || g.Round == 0 {
		return
	}
	ctx, err := c.app.Read()
	must(c.t, err)
	r, err := c.app.Committee.Round(ctx, g.Round)
	must(c.t, err)
	t, err := c.app.Committee.Transcript(ctx, g.Round)
	must(c.t, err)
	a, err := r.Arithmetic(chainID)
	must(c.t, err)
	deals, _, answers, err := t.Posted(r)
	must(c.t, err)
	commitments, err := g.Parse()
	must(c.t, err)
	for _, p := range c.players {
		if _, member := g.Member(p.index); !member || !p.shares[g.Round].IsZero() {
			continue
		}
		share, err := a.Share(dkg.Outcome{Commitments: commitments, Used: r.Used}, p.index, p.key(r), deals, answers)
		if err == nil {
			p.shares[g.Round] = share
		}
	}
}

// key makes a key of the shares of the named players, and checks it against the
// group key.
func (c *troupe) keyOf(indices ...uint32) error {
	c.t.Helper()
	g, _ := c.group()
	commitments, err := g.Parse()
	must(c.t, err)
	id := keys.Disk(c.owner.Address+"/web", uid)
	var partials []keys.Partial
	for _, i := range indices {
		p, err := c.players[i-1].shares[g.Round].Partial(id)
		must(c.t, err)
		partials = append(partials, p)
	}
	sigma, err := keys.Combine(g.Threshold(), partials)
	if err != nil {
		return err
	}
	return keys.VerifyKey(commitments.GroupKey(), id, sigma)
}

// replay runs the same blocks on another instance, opened anew before every one.
func (c *troupe) replay() *chain.App {
	c.t.Helper()
	db := dbm.NewMemDB()
	var app *chain.App
	for i, block := range c.blocks {
		var err error
		app, err = chain.New(log.NewNopLogger(), db, chainID)
		must(c.t, err)
		if i == 0 {
			initChain(c.t, app, c.genesis, block.Time.Add(-time.Second))
		}
		_, err = app.FinalizeBlock(block)
		must(c.t, err)
		_, err = app.Commit()
		must(c.t, err)
	}
	return app
}
