package chain_test

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	abci "github.com/cometbft/cometbft/abci/types"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/keys/dkg"
	committee "github.com/secretvm/secretvm/kms/chain/x/committee/types"
	"github.com/secretvm/secretvm/kms/signer"
	"github.com/secretvm/secretvm/vm"
)

// dealTo deals on a polynomial, and seals to one member another share than its
// own: a deal whose public part is right.
func dealTo(t *testing.T, r dkg.Round, dealer uint32, f *keys.Polynomial, cheated uint32) dkg.Deal {
	t.Helper()
	digest := r.Digest()
	labelled := func(label string) []byte {
		b := append(binary.BigEndian.AppendUint32(nil, uint32(len(label))), label...)
		return binary.BigEndian.AppendUint32(append(b, digest[:]...), dealer)
	}
	d, sealed := dkg.Deal{Dealer: dealer, Commitments: f.Commit()}, sha256.New()
	for _, m := range r.Members {
		at := m.Index
		if at == cheated {
			at++
		}
		share, err := f.Share(at)
		must(t, err)
		box, err := keys.Seal(m.Key, binary.BigEndian.AppendUint32(labelled("secretvm/v1/dkg-share"), m.Index), share.Bytes())
		must(t, err)
		d.Sealed = append(d.Sealed, box)
		sealed.Write(box)
	}
	var err error
	d.Proof, err = f.Prove(rand.Reader, sealed.Sum(labelled("secretvm/v1/dkg-deal")))
	must(t, err)
	must(t, r.Check(d))
	return d
}

// polynomial is what a cheat deals on: its old share in resharing.
func (p *player) polynomial(t *testing.T, r dkg.Round) *keys.Polynomial {
	t.Helper()
	if r.Old == nil {
		f, err := keys.NewPolynomial(rand.Reader, r.Threshold)
		must(t, err)
		return f
	}
	var newest uint64
	for round := range p.shares {
		newest = max(newest, round)
	}
	f, err := keys.PolynomialOf(rand.Reader, p.shares[newest], r.Threshold)
	must(t, err)
	return f
}

// cheat is what one player of four does wrong in a round.
type cheat struct {
	name  string
	say   func(t *testing.T) func(p *player, r dkg.Round, phase committee.Phase, honest sdk.Msg) sdk.Msg
	used  []uint32 // whose deals count, of a new key; resharing uses the first three of them
	fault string   // of the dealer, on the ledger
	log   string   // what the chain answered
}

// in changes what is said in one phase.
func in(phase committee.Phase, f func(p *player, r dkg.Round, honest sdk.Msg) sdk.Msg) func(*testing.T) func(*player, dkg.Round, committee.Phase, sdk.Msg) sdk.Msg {
	return func(*testing.T) func(*player, dkg.Round, committee.Phase, sdk.Msg) sdk.Msg {
		return func(p *player, r dkg.Round, at committee.Phase, honest sdk.Msg) sdk.Msg {
			if at != phase {
				return honest
			}
			return f(p, r, honest)
		}
	}
}

func nothing(*player, dkg.Round, sdk.Msg) sdk.Msg { return nil }

// wrongShare deals a wrong share to the last member; answer is what it says when
// asked.
func wrongShare(answer func(p *player, r dkg.Round, f *keys.Polynomial) sdk.Msg) func(*testing.T) func(*player, dkg.Round, committee.Phase, sdk.Msg) sdk.Msg {
	return func(t *testing.T) func(*player, dkg.Round, committee.Phase, sdk.Msg) sdk.Msg {
		dealt := map[uint64]*keys.Polynomial{}
		return func(p *player, r dkg.Round, phase committee.Phase, honest sdk.Msg) sdk.Msg {
			switch phase {
			case committee.PhaseDeal:
				dealt[r.Number] = p.polynomial(t, r)
				return &committee.MsgDeal{Relay: p.account.Address, Round: r.Number, Deal: dealTo(t, r, p.index, dealt[r.Number], 4).Encode()}
			case committee.PhaseJustify:
				return answer(p, r, dealt[r.Number])
			}
			return honest
		}
	}
}

// reveal answers with the share of a polynomial at a place, as if it were the
// last member's.
func reveal(p *player, r dkg.Round, f *keys.Polynomial, at uint32) sdk.Msg {
	share, err := f.Share(at)
	if err != nil {
		return nil
	}
	return &committee.MsgJustify{Relay: p.account.Address, Round: r.Number, Justification: committee.Justification{
		Shares: []committee.RevealedShare{{Holder: 4, Scalar: share.Bytes()}},
	}}
}

// cheats are those of player 2.
var cheats = []cheat{
	{name: "nobody", say: in(committee.PhaseUnknown, nothing), used: []uint32{1, 2, 3, 4}},
	{name: "prepare, silent", say: in(committee.PhasePrepare, nothing), used: []uint32{1, 2, 3, 4}},
	{name: "prepare, a key that nobody has", say: in(committee.PhasePrepare, func(p *player, r dkg.Round, _ sdk.Msg) sdk.Msg {
		other, err := keys.NewRecipient()
		if err != nil {
			return nil
		}
		return &committee.MsgPrepare{Relay: p.account.Address, Round: r.Number, Key: other.Public()}
	}), used: []uint32{1, 2, 3, 4}},
	{name: "prepare, no key", say: in(committee.PhasePrepare, func(p *player, r dkg.Round, _ sdk.Msg) sdk.Msg {
		return &committee.MsgPrepare{Relay: p.account.Address, Round: r.Number, Key: []byte("key")}
	}), used: []uint32{1, 2, 3, 4}, log: "HPKE public key"},
	{name: "deal, silent", say: in(committee.PhaseDeal, nothing), used: []uint32{1, 3, 4}, fault: "posted no deal"},
	{name: "deal, cut short", say: in(committee.PhaseDeal, func(_ *player, _ dkg.Round, honest sdk.Msg) sdk.Msg {
		m := honest.(*committee.MsgDeal)
		m.Deal = m.Deal[:len(m.Deal)-1]
		return m
	}), used: []uint32{1, 3, 4}, fault: "posted no deal", log: "deal has"},
	{name: "deal, changed after it was proven", say: in(committee.PhaseDeal, func(_ *player, _ dkg.Round, honest sdk.Msg) sdk.Msg {
		m := honest.(*committee.MsgDeal)
		m.Deal[len(m.Deal)-1] ^= 1
		return m
	}), used: []uint32{1, 3, 4}, fault: "posted no deal", log: "verify proof"},
	{name: "deal, in another's name", say: in(committee.PhaseDeal, func(_ *player, _ dkg.Round, honest sdk.Msg) sdk.Msg {
		m := honest.(*committee.MsgDeal)
		binary.BigEndian.PutUint32(m.Deal[1:], 3)
		return m
	}), used: []uint32{1, 3, 4}, fault: "posted no deal", log: "deal of node 3"},
	{name: "deal, of a past round", say: in(committee.PhaseDeal, func(_ *player, _ dkg.Round, honest sdk.Msg) sdk.Msg {
		m := honest.(*committee.MsgDeal)
		m.Round--
		return m
	}), used: []uint32{1, 3, 4}, fault: "posted no deal", log: "not in the phase"},
	{
		name: "deal, wrong share, silent when asked", used: []uint32{1, 3, 4}, fault: "did not answer",
		say: wrongShare(func(*player, dkg.Round, *keys.Polynomial) sdk.Msg { return nil }),
	},
	{
		name: "deal, wrong share, right when asked", used: []uint32{1, 2, 3, 4},
		say: wrongShare(func(p *player, r dkg.Round, f *keys.Polynomial) sdk.Msg { return reveal(p, r, f, 4) }),
	},
	{
		name: "deal, wrong share, wrong when asked", used: []uint32{1, 3, 4}, fault: "did not answer", log: "committed polynomial",
		say: wrongShare(func(p *player, r dkg.Round, f *keys.Polynomial) sdk.Msg { return reveal(p, r, f, 3) }),
	},
	{
		name: "deal, wrong share, shows nothing when asked", used: []uint32{1, 3, 4}, fault: "did not answer", log: "shows 0 shares",
		say: wrongShare(func(p *player, r dkg.Round, _ *keys.Polynomial) sdk.Msg {
			return &committee.MsgJustify{Relay: p.account.Address, Round: r.Number}
		}),
	},
	{name: "complain, silent", say: in(committee.PhaseComplain, nothing), used: []uint32{1, 2, 3, 4}},
	{name: "complain, about the honest", say: in(committee.PhaseComplain, func(p *player, r dkg.Round, _ sdk.Msg) sdk.Msg {
		return &committee.MsgComplain{Relay: p.account.Address, Round: r.Number, Complaint: committee.Complaint{Dealers: []uint32{1, 3, 4}}}
	}), used: []uint32{1, 2, 3, 4}},
	{name: "complain, about a stranger", say: in(committee.PhaseComplain, func(p *player, r dkg.Round, _ sdk.Msg) sdk.Msg {
		return &committee.MsgComplain{Relay: p.account.Address, Round: r.Number, Complaint: committee.Complaint{Dealers: []uint32{9}}}
	}), used: []uint32{1, 2, 3, 4}, log: "has not dealt"},
	{name: "complain, twice about the same", say: in(committee.PhaseComplain, func(p *player, r dkg.Round, _ sdk.Msg) sdk.Msg {
		return &committee.MsgComplain{Relay: p.account.Address, Round: r.Number, Complaint: committee.Complaint{Dealers: []uint32{1, 1}}}
	}), used: []uint32{1, 2, 3, 4}, log: "once each"},
}

// TestK3_CheatsInEveryPhase: whatever one of four says or leaves unsaid, in a
// round for a new key or in one that hands it on, the others end it with a
// sharing that works, and the ledger says what was wrong.
func TestK3_CheatsInEveryPhase(t *testing.T) {
	for _, tt := range cheats {
		t.Run(tt.name, func(t *testing.T) {
			c := newTroupe(t, 4)
			c.players[1].say = tt.say(t)
			c.generated(tt.used, tt)

			// The same again when the key is handed on. All were honest before it, or
			// the cheat could not deal.
			c = newTroupe(t, 4)
			c.generated([]uint32{1, 2, 3, 4}, cheat{})
			before, _ := c.group()
			c.players[1].say = tt.say(t)
			c.faults = nil
			c.reshare()
			if !c.play(60, func() bool { g, _ := c.group(); return g.Round > before.Round }) {
				r, _ := c.open()
				t.Fatalf("resharing did not end: %+v, refused %q", r.Phase, c.faults)
			}
			c.ended(tt.used[:3], tt)
			if after, _ := c.group(); after.Key() != before.Key() {
				t.Error("the group key changed")
			}
			for _, p := range c.players {
				if old := p.shares[before.Round]; string(old.Bytes()) == string(p.shares[c.round().Id].Bytes()) {
					t.Errorf("the share of node %d did not change", p.index)
				}
			}
		})
	}
}

// generated plays the first round to its end, and checks it.
func (c *troupe) generated(used []uint32, tt cheat) {
	c.t.Helper()
	c.begin()
	c.ended(used, tt)
}

// begin plays until there is a key.
func (c *troupe) begin() {
	c.t.Helper()
	if !c.play(60, func() bool { _, ok := c.group(); return ok }) {
		r, _ := c.open()
		c.t.Fatalf("no key after 60 blocks: %v, refused %q", r.Phase, c.faults)
	}
}

// round is the one that made the present sharing.
func (c *troupe) round() committee.Round {
	c.t.Helper()
	g, _ := c.group()
	ctx, err := c.app.Read()
	must(c.t, err)
	r, err := c.app.Committee.Round(ctx, g.Round)
	must(c.t, err)
	return r
}

// ended checks what the ledger says of the round that is over, and that three
// shares make the key, and fewer do not.
func (c *troupe) ended(used []uint32, tt cheat) {
	c.t.Helper()
	r := c.round()
	if !slices.Equal(r.Used, used) {
		c.t.Errorf("deals of %v are used, want %v", r.Used, used)
	}
	switch {
	case tt.fault == "" && len(r.Faults) != 0:
		c.t.Errorf("faults are %v, want none", r.Faults)
	case tt.fault != "" && (len(r.Faults) != 1 || r.Faults[0].Dealer != 2 || !strings.Contains(r.Faults[0].Reason, tt.fault)):
		c.t.Errorf("faults are %v, want one of node 2: %s", r.Faults, tt.fault)
	}
	if tt.log != "" && !slices.ContainsFunc(c.faults, func(s string) bool { return strings.Contains(s, tt.log) }) {
		c.t.Errorf("the chain refused %q, want %q", c.faults, tt.log)
	}
	if err := c.keyOf(1, 3, 4); err != nil {
		c.t.Errorf("three honest nodes make no key: %v", err)
	}
	if err := c.keyOf(1, 3); err == nil {
		c.t.Error("two nodes make a key")
	}
}

// reshare has the authority ask for new shares.
func (c *troupe) reshare() {
	c.t.Helper()
	if code, text := c.send(c.owner, &committee.MsgReshare{Sender: c.owner.Address}, &committee.MsgReshareResponse{}); code != "" {
		c.t.Fatalf("reshare: %s %s", code, text)
	}
}

// TestK9_RoundsWaitForEnoughNodes: a round that too few take part in fails, is
// said why, and is repeated, with pauses, until enough do.
func TestK9_RoundsWaitForEnoughNodes(t *testing.T) {
	c := newTroupe(t, 4)
	silent := in(committee.PhaseDeal, nothing)(t)
	c.players[2].say, c.players[3].say = silent, silent
	failed := func() (committee.Round, bool) {
		ctx, err := c.app.Read()
		must(t, err)
		r, err := c.app.Committee.Round(ctx, 1)
		return r, err == nil && r.Phase == committee.PhaseFailed
	}
	if !c.play(60, func() bool { _, ok := failed(); return ok }) {
		t.Fatal("a round with two of four dealers did not fail")
	}
	if r, _ := failed(); !strings.Contains(r.Failure, "2 of 4 dealers dealt, and 3 are needed") {
		t.Errorf("failure is %q", r.Failure)
	}
	begun := c.height
	if !c.play(60, func() bool { _, open := c.open(); return open }) || c.height-begun < 2 {
		t.Errorf("the next round began %d blocks after, want a pause of 2 s", c.height-begun)
	}
	c.players[2].say = nil
	c.begin()
	if r := c.round(); r.Id < 2 || !slices.Equal(r.Used, []uint32{1, 2, 3}) || len(r.Faults) != 1 || r.Faults[0].Dealer != 4 {
		t.Errorf("round is %d with deals of %v, faults %v", r.Id, r.Used, r.Faults)
	}
}

// TestK4_OldAndNewSharesDoNotMix: who collected fewer shares than the threshold
// before resharing, and as many again after it, has nothing.
func TestK4_OldAndNewSharesDoNotMix(t *testing.T) {
	c := newTroupe(t, 4)
	c.generated([]uint32{1, 2, 3, 4}, cheat{})
	before, _ := c.group()
	c.reshare()
	c.play(60, func() bool { g, _ := c.group(); return g.Round > before.Round })
	after, _ := c.group()
	c.players[0].shares[after.Round] = c.players[0].shares[before.Round] // stolen in time, of two nodes
	c.players[1].shares[after.Round] = c.players[1].shares[before.Round]
	if err := c.keyOf(1, 2, 3); err == nil {
		t.Error("two old shares and a new one make a key")
	}
	if err := c.keyOf(1, 3, 4); err == nil {
		t.Error("an old share and two new ones make a key")
	}
}

// TestRoundsSurviveARestart: an application that is opened anew from its database
// after every block of a round computes the same.
func TestRoundsSurviveARestart(t *testing.T) {
	c := newTroupe(t, 4)
	c.players[1].say = wrongShare(func(p *player, r dkg.Round, f *keys.Polynomial) sdk.Msg { return reveal(p, r, f, 4) })(t)
	c.generated([]uint32{1, 2, 3, 4}, cheat{})
	want := c.app.LastCommitID().Hash
	again := c.replay()
	if got := again.LastCommitID().Hash; string(got) != string(want) {
		t.Errorf("app hash is %x, want %x", got, want)
	}
}

// TestValidatorsFollowTheCommittee: who gets a share validates from then on, who
// leaves does so until the others can do without.
func TestValidatorsFollowTheCommittee(t *testing.T) {
	c := newTroupe(t, 3)
	c.begin()
	var updates []abci.ValidatorUpdate
	c.watch = func(r *abci.ResponseFinalizeBlock) { updates = append(updates, r.ValidatorUpdates...) }
	p, node := c.recruit(c.owner.Address)
	join := &committee.MsgJoin{
		Sender: c.owner.Address, Operator: c.owner.Address, Relay: p.account.Address,
		ConsensusKey: node.Identity.ConsensusKey, SealingKey: node.Identity.SealingKey, Replaces: 1,
	}
	if code, text := c.send(c.owner, join, &committee.MsgJoinResponse{}); code != "" {
		t.Fatal(code, text)
	}
	if len(updates) != 0 {
		t.Fatalf("a node validates before it has a share: %v", updates)
	}
	if !c.play(60, func() bool { g, _ := c.group(); _, in := g.Member(4); return in }) {
		t.Fatal("the fourth got no share")
	}
	if len(updates) != 2 || updates[0].Power != committee.Power || updates[1].Power != 0 {
		t.Errorf("updates are %v, want one validator for another", updates)
	}
	g, _ := c.group()
	if _, in := g.Member(1); in || len(g.Members) != 3 {
		t.Errorf("members are %v, want 2, 3 and 4", g.Members)
	}
	if err := c.keyOf(2, 3, 4); err != nil {
		t.Error(err)
	}

	// One that is put out by the authority is no validator any more, at once.
	updates = nil
	if code, _ := c.send(c.owner, &committee.MsgRemove{Authority: c.owner.Address, Index: 2}, nil); code == "" {
		t.Error("a node was removed without which the key is lost")
	}
}

// TestSilentJoinerIsLeftOut: a node that is admitted and never appears does not
// become a member that counts.
func TestSilentJoinerIsLeftOut(t *testing.T) {
	c := newTroupe(t, 4)
	c.generated([]uint32{1, 2, 3, 4}, cheat{})
	p, node := c.recruit(c.owner.Address)
	p.say = func(*player, dkg.Round, committee.Phase, sdk.Msg) sdk.Msg { return nil }
	join := &committee.MsgJoin{
		Sender: c.owner.Address, Operator: c.owner.Address, Relay: p.account.Address,
		ConsensusKey: node.Identity.ConsensusKey, SealingKey: node.Identity.SealingKey,
	}
	if code, text := c.send(c.owner, join, &committee.MsgJoinResponse{}); code != "" {
		t.Fatal(code, text)
	}
	gone := func() bool {
		ctx, err := c.app.Read()
		must(t, err)
		nodes, err := c.app.Committee.Nodes(ctx)
		must(t, err)
		_, open := c.open()
		return len(nodes) == 4 && !open
	}
	if !c.play(60, gone) {
		t.Fatal("the silent node is still there")
	}
	if g, _ := c.group(); len(g.Members) != 4 || g.Threshold() != 3 {
		t.Errorf("the group is of %d members", len(g.Members))
	}
}

// TestMembersAskForLostShares: a member may, when the present shares have been
// in use for a while; nobody else.
func TestMembersAskForLostShares(t *testing.T) {
	c := newTroupe(t, 4)
	c.begin()
	before, _ := c.group()
	ask := func(from signer.Account) vm.Code {
		code, _ := c.send(from, &committee.MsgReshare{Sender: from.Address}, &committee.MsgReshareResponse{})
		return code
	}
	if code := ask(c.players[3].account); code != vm.CodeUnavailable {
		t.Errorf("just after a round: code %q, want %s", code, vm.CodeUnavailable)
	}
	for range 100 {
		c.block()
	}
	if code := ask(c.other); code != vm.CodePermission {
		t.Errorf("a stranger: code %q, want %s", code, vm.CodePermission)
	}
	delete(c.players[3].shares, before.Round)
	if code := ask(c.players[3].account); code != "" {
		t.Errorf("a member: code %q", code)
	}
	if !c.play(60, func() bool { g, _ := c.group(); return g.Round > before.Round }) {
		t.Fatal("no new shares")
	}
	if err := c.keyOf(4, 1, 2); err != nil {
		t.Errorf("the member that had lost its share: %v", err)
	}
}

// TestRemovalEndsTheRound: a node that is put out while shares are made gets none
// of them.
func TestRemovalEndsTheRound(t *testing.T) {
	c := newTroupe(t, 5)
	c.begin()
	before, _ := c.group()
	c.reshare()
	if !c.play(10, func() bool { r, _ := c.open(); return r.Phase == committee.PhaseComplain }) {
		t.Fatal("the round does not begin")
	}
	if code, text := c.send(c.owner, &committee.MsgRemove{Authority: c.owner.Address, Index: 5, Reason: "stolen"}, &committee.MsgRemoveResponse{}); code != "" {
		t.Fatal(code, text)
	}
	if !c.play(60, func() bool { g, _ := c.group(); return g.Round > before.Round }) {
		t.Fatal("no new shares")
	}
	g, _ := c.group()
	if _, member := g.Member(5); member || g.Round != before.Round+2 || g.Threshold() != 3 {
		t.Errorf("the sharing is of round %d among %d, want round %d without node 5", g.Round, len(g.Members), before.Round+2)
	}
	if !c.players[4].shares[g.Round].IsZero() {
		t.Error("the removed node has a share")
	}
	if err := c.keyOf(1, 2, 4); err != nil {
		t.Error(err)
	}
}
