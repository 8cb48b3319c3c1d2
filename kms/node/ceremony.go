package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/keys/dkg"
	"github.com/secretvm/secretvm/kms/chain/x/committee"
	"github.com/secretvm/secretvm/kms/chain/x/committee/types"
	"github.com/secretvm/secretvm/vm"
)

// ceremony does this node's part in rounds: after every block it compares what
// the ledger says with what this node has said and holds, and does what is
// missing. It keeps no other state, so it can be killed at any moment.
type ceremony struct {
	home   Home
	ledger *ledger
	relay  *relay
	keys   *keyring
	log    *slog.Logger

	mu   sync.Mutex
	sent map[string]time.Time // what is under way
	told map[string]bool      // what was logged once
}

// resend is after how long a message that is not on the ledger is sent again.
const resend = 5 * time.Second

// run acts after every block until ctx ends.
func (c *ceremony) run(ctx context.Context) {
	for range c.ledger.blocks(ctx, "kmsd-ceremony") {
		if c.ledger.comet.ConsensusReactor().WaitSync() {
			continue // what is read now is long past
		}
		if err := c.act(ctx); err != nil && ctx.Err() == nil {
			c.log.Error("part in the ceremony failed", "err", err)
		}
	}
}

// scene is what one look at the ledger shows.
type scene struct {
	ctx    sdk.Context
	me     types.Node
	params types.Params
	groups []types.Group
	round  types.Round // the open one; its id is 0 when there is none
}

// act does what is missing now.
func (c *ceremony) act(ctx context.Context) error {
	s, err := c.look()
	if err != nil {
		return err
	}
	for _, g := range s.groups {
		if err := c.take(s, g); err != nil {
			c.once(fmt.Sprintf("take %d-%d", g.Epoch, g.Round), "cannot take my share", "epoch", g.Epoch, "round", g.Round, "err", err)
			c.ask(ctx, s, g)
		}
	}
	if s.round.Id != 0 && s.me.Index != 0 {
		err = c.part(ctx, s)
	}
	return errors.Join(err, c.backUp(ctx, s), c.tidy(s))
}

// ask has new shares made because this node has lost its own, if the others can
// do without it.
func (c *ceremony) ask(ctx context.Context, s scene, g types.Group) {
	if s.round.Id != 0 || s.ctx.BlockHeight()-g.Height < committee.MinReshare || len(g.Members) <= g.Threshold() {
		return
	}
	c.send(ctx, fmt.Sprintf("lost %d-%d", g.Epoch, g.Round), &types.MsgReshare{Sender: c.relay.account.Address, Epoch: g.Epoch}, baseGas)
}

// look reads the ledger.
func (c *ceremony) look() (s scene, err error) {
	if s.ctx, err = c.ledger.Read(); err != nil {
		return s, err
	}
	k := c.ledger.Committee
	if s.params, err = k.Params(s.ctx); err != nil {
		return s, err
	}
	if s.groups, err = k.Groups(s.ctx); err != nil {
		return s, err
	}
	if s.me, _, err = k.Signer(s.ctx, c.relay.account.Address); err != nil {
		return s, err
	}
	round, open, err := k.OpenRound(s.ctx)
	if open {
		s.round = round
	}
	return s, err
}

// take makes sure that this node holds its share of a group.
func (c *ceremony) take(s scene, g types.Group) error {
	if _, member := g.Member(s.me.Index); !member || c.keys.has(g) {
		return nil
	}
	err := c.keys.load(g)
	if err == nil || g.Round == 0 {
		return err
	}
	if !errors.Is(err, os.ErrNotExist) {
		c.once(fmt.Sprintf("read %d-%d", g.Epoch, g.Round), "the file of my share is of no use; computing it again", "err", err)
	}
	round, err := c.ledger.Committee.Round(s.ctx, g.Round)
	if err != nil {
		return err
	}
	a, err := round.Arithmetic(c.ledger.ChainID())
	if err != nil {
		return err
	}
	t, err := c.ledger.Committee.Transcript(s.ctx, round.Id)
	if err != nil {
		return err
	}
	deals, _, answers, err := t.Posted(round)
	if err != nil {
		return err
	}
	commitments, err := g.Parse()
	if err != nil {
		return err
	}
	key, err := c.sealing(s.me, round)
	if err != nil {
		return err
	}
	share, err := a.Share(dkg.Outcome{Commitments: commitments, Used: round.Used}, s.me.Index, key, deals, answers)
	if err != nil {
		return err
	}
	if err := c.keys.store(g, share); err != nil {
		return err
	}
	c.log.Info("share taken", "epoch", g.Epoch, "round", g.Round, "threshold", g.Threshold(), "members", len(g.Members))
	return nil
}

// sealing is the key that this node's shares of a round are sealed to.
func (c *ceremony) sealing(me types.Node, r types.Round) (*keys.Recipient, error) {
	holder, ok := r.Holder(me.Index)
	if !ok {
		return nil, fmt.Errorf("node %d gets no share in round %d", me.Index, r.Id)
	}
	if f, err := c.home.readRound(r.Id); err == nil {
		if key, err := keys.ParseRecipient(f.Key); err == nil && bytes.Equal(key.Public(), holder.SealingKey) {
			return key, nil
		}
	}
	key, err := readSealing(c.home.sealing())
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(key.Public(), holder.SealingKey) {
		return nil, fmt.Errorf("the key that the share of round %d is sealed to is not in this home", r.Id)
	}
	return key, nil
}

// part sends what this node has to say in the open round's phase.
func (c *ceremony) part(ctx context.Context, s scene) error {
	r, me := s.round, s.me.Index
	t, err := c.ledger.Committee.Transcript(s.ctx, r.Id)
	if err != nil {
		return err
	}
	if committee.Voice(r, s.me, r.Phase) != c.relay.account.Address {
		return nil // the node's other keys', in another process
	}
	_, holder := r.Holder(me)
	dealer := slices.Contains(r.Dealers, me)
	switch {
	case r.Phase == types.PhasePrepare && holder && t.Fresh[me] == nil:
		return c.prepare(ctx, r)
	case r.Phase == types.PhaseDeal && dealer && t.Deals[me] == nil:
		return c.deal(ctx, s, r)
	case r.Phase == types.PhaseComplain && holder && !t.HasComplained(me):
		return c.complain(ctx, s, t)
	case r.Phase == types.PhaseJustify && dealer && len(t.Accused()[me]) != 0 && !t.HasAnswered(me):
		return c.justify(ctx, s, t)
	}
	return nil
}

func (c *ceremony) prepare(ctx context.Context, r types.Round) error {
	f, err := c.home.openRound(r.Id)
	if err != nil {
		return err
	}
	key, err := keys.ParseRecipient(f.Key)
	if err != nil {
		return err
	}
	c.send(ctx, inRound(r), &types.MsgPrepare{Relay: c.relay.account.Address, Round: r.Id, Key: key.Public()}, baseGas)
	return nil
}

// dealer returns this node as a dealer of the open round, and its deal.
func (c *ceremony) dealer(s scene) (*dkg.Dealer, []byte, error) {
	a, err := s.round.Arithmetic(c.ledger.ChainID())
	if err != nil {
		return nil, nil, err
	}
	if s.round.Kind == types.RoundGenerate {
		return c.home.dealer(a, s.me.Index, nil)
	}
	for _, g := range s.groups {
		if g.Epoch != s.round.Epoch {
			continue
		}
		share, ok := c.keys.exact(g)
		if !ok {
			return nil, nil, fmt.Errorf("this node has no share of round %d to deal on", g.Round)
		}
		return c.home.dealer(a, s.me.Index, &share)
	}
	return nil, nil, fmt.Errorf("epoch %d has no group to reshare", s.round.Epoch)
}

func (c *ceremony) deal(ctx context.Context, s scene, r types.Round) error {
	dealer, deal, err := c.dealer(s)
	if err != nil {
		c.once(fmt.Sprintf("deal %d", r.Id), "cannot deal", "round", r.Id, "err", err)
		return nil
	}
	dealer.Wipe()
	gas := baseGas + 100*uint64(len(deal)) + 2*committee.PointGas*uint64(int(r.Threshold)+len(r.Old))
	c.send(ctx, inRound(r), &types.MsgDeal{Relay: c.relay.account.Address, Round: r.Id, Deal: deal}, gas)
	return nil
}

// complain opens all deals and says whose are wrong. A node that has lost the
// key says nothing: complaints make the dealers show its shares to everybody.
func (c *ceremony) complain(ctx context.Context, s scene, t committee.Transcript) error {
	key, err := c.sealing(s.me, s.round)
	if err != nil {
		c.once(fmt.Sprintf("open %d", s.round.Id), "cannot open my shares", "round", s.round.Id, "err", err)
		return nil
	}
	a, err := s.round.Arithmetic(c.ledger.ChainID())
	if err != nil {
		return err
	}
	deals, _, _, err := t.Posted(s.round)
	if err != nil {
		return err
	}
	msg := &types.MsgComplain{Relay: c.relay.account.Address, Round: s.round.Id}
	for _, d := range deals {
		share, err := a.Open(d, s.me.Index, key)
		share.Wipe()
		if err != nil {
			c.log.Warn("a dealer gave this node a wrong share", "round", s.round.Id, "dealer", d.Dealer, "err", err)
			msg.Complaint.Dealers = append(msg.Complaint.Dealers, d.Dealer)
		}
	}
	c.send(ctx, inRound(s.round), msg, baseGas)
	return nil
}

func (c *ceremony) justify(ctx context.Context, s scene, t committee.Transcript) error {
	dealer, _, err := c.dealer(s)
	if err != nil {
		return err
	}
	defer dealer.Wipe()
	_, complaints, _, err := t.Posted(s.round)
	if err != nil {
		return err
	}
	answers, err := dealer.Justify(complaints)
	if err != nil {
		c.once(fmt.Sprintf("justify %d", s.round.Id), "cannot answer complaints", "round", s.round.Id, "err", err)
		return nil
	}
	msg := &types.MsgJustify{Relay: c.relay.account.Address, Round: s.round.Id}
	for _, j := range answers {
		msg.Justification.Shares = append(msg.Justification.Shares, types.RevealedShare{Holder: j.Member, Scalar: j.Share[:]})
	}
	gas := baseGas + 2*committee.PointGas*uint64(s.round.Threshold)*uint64(len(answers))
	c.send(ctx, inRound(s.round), msg, gas)
	return nil
}

// tidy wipes what is over: secrets of rounds whose share is taken or that came
// to nothing, and shares that another sharing replaced a while ago.
func (c *ceremony) tidy(s scene) error {
	missing, of := make(map[uint64]bool), make(map[uint64]types.Group)
	newest := uint64(0)
	for _, g := range s.groups {
		_, member := g.Member(s.me.Index)
		missing[g.Round] = member && !c.keys.has(g)
		of[g.Epoch] = g
		newest = max(newest, g.Round)
	}
	return errors.Join(
		c.home.wipeRounds(func(id uint64) bool { return id == s.round.Id || id > newest || missing[id] }),
		c.keys.wipe(func(at sharing) bool {
			g, open := of[at.epoch]
			replaced := at.round < g.Round && s.ctx.BlockHeight() >= g.Height+int64(s.params.WipeAfter)
			return open && !replaced
		}),
	)
}

// baseGas is what a small message of a round costs at most.
const baseGas uint64 = 5_000_000

func inRound(r types.Round) string { return fmt.Sprintf("round %d", r.Id) }

// send sends a message, unless it is under way already.
func (c *ceremony) send(ctx context.Context, about string, msg sdk.Msg, gas uint64) {
	name := about + " " + sdk.MsgTypeURL(msg)
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.sent[name]) < resend {
		return
	}
	c.sent[name] = time.Now()
	go func() {
		err := c.relay.post(ctx, gas, msg)
		switch code := vm.CodeOf(err); {
		case err == nil, ctx.Err() != nil, code == vm.CodeStale, code == vm.CodeExists: // the phase went on meanwhile
		default:
			c.log.Warn("message failed", "message", name, "err", err)
			if code == vm.CodeUnavailable {
				c.mu.Lock()
				delete(c.sent, name)
				c.mu.Unlock()
			}
		}
	}()
}

// once logs something that stays so the first time only.
func (c *ceremony) once(name, text string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.told[name] {
		c.told[name] = true
		c.log.Warn(text, args...)
	}
}
