package node

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/secretvm/secretvm/keys"
	committee "github.com/secretvm/secretvm/kms/chain/x/committee/types"
	"github.com/secretvm/secretvm/kms/wire"
	"github.com/secretvm/secretvm/vm"
)

// statusOf answers for the epoch that a request names, or for the oldest that is
// open when it names none. The answer is encoded.
func (l *ledger) statusOf(asked string, now time.Time) (wire.Encoded, error) {
	if b, ok := l.told.at(l.Committed(), asked, now); ok {
		return b, nil
	}
	if asked == "" {
		s, err := l.status(now)
		if err != nil {
			return nil, err
		}
		return wire.Encode(s)
	}
	epoch, err := strconv.ParseUint(asked, 10, 64)
	if err != nil {
		return nil, vm.Refuse(vm.CodeMalformed, "epoch is %.40q, want a number", asked)
	}
	height := l.Committed() // before it is read: what is remembered may only be too new
	s, err := l.statusAt(func([]uint64) uint64 { return epoch }, now)
	if err != nil {
		return nil, err
	}
	b, err := wire.Encode(s)
	if err == nil {
		l.told.remember(height, asked, s.Time, b)
	}
	return b, err
}

// told remembers what was said of the newest state: every machine that starts
// asks, and between two blocks all of them the same.
type told struct {
	mu     sync.Mutex
	height int64
	asked  string // epoch
	time   time.Time
	status wire.Encoded
}

func (t *told) at(height int64, asked string, now time.Time) (wire.Encoded, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.status, height != 0 && t.height == height && t.asked == asked && now.Sub(t.time) <= freshness
}

func (t *told) remember(height int64, asked string, at time.Time, status wire.Encoded) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.height, t.asked, t.time, t.status = height, asked, at, status
}

// status answers for the oldest epoch that is open.
func (l *ledger) status(now time.Time) (wire.Status, error) {
	return l.statusAt(func(open []uint64) uint64 { return open[0] }, now)
}

func (l *ledger) statusAt(choose func(open []uint64) uint64, now time.Time) (wire.Status, error) {
	ctx, err := l.Read()
	if err != nil {
		return wire.Status{}, vm.Refuse(vm.CodeUnavailable, "the chain has no block yet")
	}
	open, err := l.Committee.OpenEpochs(ctx)
	if err != nil {
		return wire.Status{}, err
	}
	if len(open) == 0 {
		return wire.Status{}, vm.Refuse(vm.CodeUnavailable, "the chain has no block yet")
	}
	epoch := choose(open)
	group, err := l.Committee.Group(ctx, epoch)
	if err != nil {
		return wire.Status{}, l.explain(ctx, basic(err))
	}
	newest, err := l.KMS.Newest(ctx)
	if err != nil {
		return wire.Status{}, err
	}
	if newest.Height == 0 || now.Sub(at(newest.Time)) > freshness {
		return wire.Status{}, vm.Refuse(vm.CodeUnavailable, "the chain has no fresh block yet").Try("try again in a few seconds")
	}
	known, err := l.parsed.of(group)
	if err != nil {
		return wire.Status{}, err
	}
	s := wire.Status{
		ChainID: l.ChainID(), Epoch: epoch, GroupKey: known.commitments.GroupKey(), Threshold: group.Threshold(), Commitments: known.commitments,
		Height: newest.Height, Time: at(newest.Time), Newest: ctx.BlockHeight(), Open: open, DecideMillis: l.lately.millis(now),
	}
	copy(s.BlockHash[:], newest.Hash)
	return s, l.describe(ctx, &s, group, known)
}

// describe adds what people want to know.
func (l *ledger) describe(ctx sdk.Context, s *wire.Status, group committee.Group, known parsedGroup) error {
	params, err := l.Committee.Params(ctx)
	if err != nil {
		return err
	}
	nodes, err := l.Committee.Nodes(ctx)
	if err != nil {
		return err
	}
	of := make(map[uint32]committee.Node, len(nodes))
	for _, n := range nodes {
		of[n.Index] = n
	}
	unseen := 0
	for i, m := range group.Members {
		n := of[m.Index]
		s.Nodes = append(s.Nodes, wire.Node{Index: m.Index, PublicKey: known.members[i], API: n.Api, Attested: n.Identity.Attested})
		if !n.Identity.Attested {
			unseen++
		}
	}
	if unseen > 0 {
		s.Warnings = append(s.Warnings, fmt.Sprintf("NOBODY HAS CHECKED WHAT %d OF %d NODES RUN: WHO OWNS THEM CAN READ THEIR SHARES. FOR DEVELOPMENT ONLY.", unseen, len(group.Members)))
	}
	if params.UnattestedNodes {
		s.Warnings = append(s.Warnings, "THE AUTHORITY MAY ADMIT NODES WITHOUT EVIDENCE.")
	}
	rules, err := l.Committee.RecoveryRules(ctx)
	if err != nil {
		return err
	}
	s.Warnings = append(s.Warnings, announced(rules, ctx.BlockTime().Unix())...)
	if r, open, err := l.Committee.OpenRound(ctx); err != nil {
		return err
	} else if open {
		s.Round = tell(r)
	}
	return nil
}

// tell says what the nodes are about.
func tell(r committee.Round) string {
	what := "key generation"
	if r.Kind == committee.RoundReshare {
		what = "resharing"
	}
	phase := strings.ToLower(strings.TrimPrefix(r.Phase.String(), "PHASE_"))
	return fmt.Sprintf("%s of epoch %d among %d nodes: phase %s of round %d", what, r.Epoch, len(r.Holders), phase, r.Id)
}

// explain adds to a missing group how far the nodes are with making it.
func (l *ledger) explain(ctx sdk.Context, err error) error {
	r, open, readErr := l.Committee.OpenRound(ctx)
	if readErr != nil || !open || vm.CodeOf(err) != vm.CodeUnavailable {
		return err
	}
	return vm.Refuse(vm.CodeUnavailable, "%s", tell(r)).Try("wait; it takes a few seconds when all nodes run")
}

// parsedGroup is a group's points, decoded.
type parsedGroup struct {
	commitments keys.Commitments
	members     []keys.PublicKey // in the order of the group's members
}

// parsedGroups remembers the points of the groups that are asked for: decoding
// one takes as long as all the rest of a status.
type parsedGroups struct {
	mu    sync.Mutex
	known map[sharing]parsedGroup
}

// maxParsed bounds the memory; when it is reached, everything is decoded anew.
const maxParsed = 16

func (p *parsedGroups) of(g committee.Group) (parsedGroup, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := sharing{g.Epoch, g.Round}
	if known, ok := p.known[at]; ok {
		return known, nil
	}
	commitments, err := g.Parse()
	if err != nil {
		return parsedGroup{}, err
	}
	out := parsedGroup{commitments: commitments}
	for _, m := range g.Members {
		k, err := keys.ParsePublicKey(m.PublicKey)
		if err != nil {
			return out, fmt.Errorf("public key of member %d: %w", m.Index, err)
		}
		out.members = append(out.members, k)
	}
	if len(p.known) >= maxParsed || p.known == nil {
		p.known = make(map[sharing]parsedGroup)
	}
	p.known[at] = out
	return out, nil
}
