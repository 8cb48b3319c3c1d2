package chain_test

import (
	"crypto/rand"
	"encoding/json"
	"testing"

	"cosmossdk.io/log/v2"
	"filippo.io/age"
	dbm "github.com/cosmos/cosmos-db"

	"github.com/secretvm/secretvm/keys/recovery"
	"github.com/secretvm/secretvm/kms/chain"
	committee "github.com/secretvm/secretvm/kms/chain/x/committee/types"
	"github.com/secretvm/secretvm/vm"
)

// keepers makes a recovery committee, k of n.
func keepers(t *testing.T, k uint32, n int) (*committee.Recovery, []age.Identity) {
	t.Helper()
	r, identities := &committee.Recovery{Threshold: k}, []age.Identity{}
	for range n {
		id, err := age.GenerateHybridIdentity()
		must(t, err)
		r.Recipients, identities = append(r.Recipients, id.Recipient().String()), append(identities, id)
	}
	return r, identities
}

// keptBy names a recovery committee in genesis.
func keptBy(r *committee.Recovery, delay uint64) func(*chain.Genesis) {
	return func(g *chain.Genesis) { g.Committee.Recovery = &committee.RecoveryRules{Current: r, Delay: delay} }
}

// backup is a player's share in pieces, for whom it is told.
func (c *troupe) backup(p *player, g committee.Group, to *committee.Recovery) *committee.MsgBackup {
	c.t.Helper()
	share := p.shares[g.Round]
	recipients, err := recovery.ParseRecipients(to.Recipients)
	must(c.t, err)
	subject := recovery.Subject{ChainID: chainID, Epoch: g.Epoch, Round: g.Round, Node: p.index, Public: share.Public()}
	b, err := recovery.Make(rand.Reader, subject, share, int(to.Threshold), recipients)
	must(c.t, err)
	return &committee.MsgBackup{Relay: p.account.Address, Epoch: g.Epoch, Round: g.Round, Backup: b.Encode()}
}

// sharings are what the chain can be recovered from.
func (c *troupe) sharings() []committee.Sharing {
	c.t.Helper()
	g, err := c.app.Export(0)
	must(c.t, err)
	out, err := committee.Sharings(chainID, g.Committee.Backed, g.Committee.Backups)
	must(c.t, err)
	return out
}

// reshared plays until the group is another.
func (c *troupe) reshared() committee.Group {
	c.t.Helper()
	before, _ := c.group()
	if !c.play(60, func() bool { g, ok := c.group(); return ok && g.Round != before.Round }) {
		c.t.Fatalf("no new sharing; faults %v", c.faults)
	}
	c.take()
	g, _ := c.group()
	return g
}

// TestK10_NothingWrongIsBackedUp: holders back up their shares and nothing else,
// to those who are named, and the chain always has enough to recover from.
func TestK10_NothingWrongIsBackedUp(t *testing.T) {
	named, identities := keepers(t, 2, 3)
	other, _ := keepers(t, 2, 3)
	few, _ := keepers(t, 1, 3)
	c := newTroupe(t, 4, keptBy(named, 0))
	g := c.reshared()
	if !g.Recovery.Same(named) {
		t.Fatalf("the group is backed up to %+v", g.Recovery)
	}
	one, two := c.players[0], c.players[1]
	refused := func(what string, code vm.Code, by *player, m *committee.MsgBackup) {
		t.Helper()
		m.Relay = by.account.Address
		if got, text := c.send(by.account, m, &committee.MsgBackupResponse{}); got != code {
			t.Errorf("%s: %q %s, want %s", what, got, text, code)
		}
	}
	good := func(p *player) *committee.MsgBackup { return c.backup(p, g, named) }
	refused("another node's share", vm.CodeInvalid, one, good(two))
	refused("another committee of the same size", "", one, c.backup(one, g, other)) // only its members would see it
	refused("another k", vm.CodeInvalid, two, c.backup(two, g, few))
	late := good(two)
	late.Round++
	refused("another round", vm.CodeStale, two, late)
	absent := good(two)
	absent.Epoch++
	refused("another epoch", vm.CodeInvalid, two, absent)
	spoilt := good(two)
	spoilt.Backup[len(spoilt.Backup)-1] ^= 1
	refused("altered envelope", vm.CodeInvalid, two, spoilt)
	refused("twice", vm.CodeExists, one, good(one))
	stranger := &player{account: c.owner}
	refused("a stranger", vm.CodePermission, stranger, good(two))
	refused("good", "", two, good(two))
	if len(c.sharings()) != 0 {
		t.Error("two backups of three that are needed suffice")
	}
	refused("good", "", c.players[2], good(c.players[2]))
	first := c.sharings()
	if len(first) != 1 || first[0].Group.Round != g.Round || len(first[0].Backups) != 3 {
		t.Fatalf("sharings are %+v", first)
	}

	// Another round: what was backed up stays until the new shares are.
	c.do(c.owner, &committee.MsgReshare{Sender: c.owner.Address}, &committee.MsgReshareResponse{})
	g = c.reshared()
	for i, p := range c.players[1:] {
		if s := c.sharings(); len(s) != 1 || s[0].Group.Round != first[0].Group.Round {
			t.Errorf("after %d new backups the sharings are %+v", i, s)
		}
		refused("good", "", p, good(p))
	}
	second := c.sharings()
	if len(second) != 1 || second[0].Group.Round != g.Round || len(second[0].Backups) != 3 {
		t.Fatalf("sharings are %+v", second)
	}

	// Two members have what makes the key; the one whom a node cheated does not know it yet.
	commitments, err := g.Parse()
	must(t, err)
	combined, err := recovery.Combine(commitments, second[0].Backups)
	must(t, err)
	if shares, err := combined.Take(identities[1]); err != nil || len(shares) != 1 {
		t.Errorf("%d shares, %v", len(shares), err)
	}
	if !combined.Commitments.GroupKey().Equal(commitments.GroupKey()) {
		t.Error("the group key changed")
	}

	// It survives an export.
	exported, err := c.app.Export(0)
	must(t, err)
	genesis, err := json.Marshal(exported)
	must(t, err)
	twin := *c.world
	twin.db, twin.height, twin.blocks = dbm.NewMemDB(), 0, nil
	twin.app, err = chain.New(log.NewNopLogger(), twin.db, chainID)
	must(t, err)
	initChain(t, twin.app, genesis, twin.now)
	twin.block()
	again, err := twin.app.Export(0)
	must(t, err)
	b, err := json.Marshal(again)
	must(t, err)
	if string(b) != string(genesis) {
		t.Errorf("the export of the export differs:\n%s\n%s", genesis, b)
	}
}

// TestK10_RecoveryCommitteesAreAnnounced: who gets pieces of all shares could
// read every key. The authority, or a thief of its key, cannot make that itself
// before everybody saw it coming.
func TestK10_RecoveryCommitteesAreAnnounced(t *testing.T) {
	named, _ := keepers(t, 2, 3)
	thief, _ := keepers(t, 1, 1)
	c := newTroupe(t, 4, keptBy(named, 3600))
	g := c.reshared()
	set := func(r *committee.Recovery) *committee.MsgSetRecovery {
		if r == nil {
			return &committee.MsgSetRecovery{Authority: c.owner.Address}
		}
		return &committee.MsgSetRecovery{Authority: c.owner.Address, Threshold: r.Threshold, Recipients: r.Recipients}
	}
	foreign := set(thief)
	foreign.Authority = c.other.Address
	if code, text := c.send(c.other, foreign, &committee.MsgSetRecoveryResponse{}); code != vm.CodePermission {
		t.Errorf("a stranger: %q %s", code, text)
	}
	senseless := set(thief)
	senseless.Threshold = 2
	if code, text := c.send(c.owner, senseless, &committee.MsgSetRecoveryResponse{}); code != vm.CodeInvalid {
		t.Errorf("two of one: %q %s", code, text)
	}
	var announced committee.MsgSetRecoveryResponse
	c.do(c.owner, set(thief), &announced)
	if announced.At < c.now.Unix()+3500 {
		t.Errorf("in force at %d, and it is %d", announced.At, c.now.Unix())
	}
	rules := func() committee.RecoveryRules {
		ctx, err := c.app.Read()
		must(t, err)
		r, err := c.app.Committee.RecoveryRules(ctx)
		must(t, err)
		return r
	}
	if r := rules(); !r.Current.Same(named) || !r.Next.Same(thief) || r.NextAt != announced.At {
		t.Errorf("rules are %+v", r)
	}
	// A new sharing before that time is still for those who were named.
	c.do(c.owner, &committee.MsgReshare{Sender: c.owner.Address}, &committee.MsgReshareResponse{})
	if next := c.reshared(); !next.Recovery.Same(named) || next.Round == g.Round {
		t.Errorf("group is %+v", next)
	}
	c.do(c.owner, set(named), &announced) // taken back
	if r := rules(); r.Next != nil || r.NextAt != 0 {
		t.Errorf("rules are %+v", r)
	}
	c.do(c.owner, set(thief), &announced)
	c.pass(3601e9)
	if next := c.reshared(); !next.Recovery.Same(thief) {
		t.Errorf("group is %+v", next)
	}
	// Nobody: at once, and what was kept goes with the next sharing.
	g, _ = c.group()
	for _, p := range c.players {
		c.do(p.account, c.backup(p, g, thief), &committee.MsgBackupResponse{})
	}
	if len(c.sharings()) != 1 {
		t.Error("four backups do not suffice")
	}
	c.do(c.owner, set(nil), &committee.MsgSetRecoveryResponse{})
	if next := c.reshared(); next.Recovery != nil || len(c.sharings()) != 0 {
		t.Errorf("group is %+v", next)
	}
	exported, err := c.app.Export(0)
	must(t, err)
	if len(exported.Committee.Backups) != 0 {
		t.Error("backups were kept")
	}
	g, _ = c.group()
	m := c.backup(c.players[0], g, thief)
	if code, _ := c.send(c.players[0].account, m, &committee.MsgBackupResponse{}); code != vm.CodeInvalid {
		t.Errorf("a backup for nobody: %q", code)
	}
	if c.app.LastCommitID().String() != c.replay().LastCommitID().String() {
		t.Error("another instance has another state")
	}
}

// TestK8_HostileBackups sends a backup with every field hostile.
func TestK8_HostileBackups(t *testing.T) {
	named, _ := keepers(t, 2, 3)
	c := newTroupe(t, 4, keptBy(named, 0))
	g := c.reshared()
	a := newAttacker(c.world, c.players[0].account)
	a.save()
	a.attack(c.players[0].account, c.backup(c.players[0], g, named))
	a.restore()
	t.Logf("%d transactions, answers %v", a.tried, a.codes)
}
