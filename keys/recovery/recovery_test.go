package recovery

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"filippo.io/age"

	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/keys/dkg"
)

// committee is n members, every other with a post-quantum key.
func committee(t testing.TB, n int) ([]age.Identity, []age.Recipient) {
	t.Helper()
	identities, names := make([]age.Identity, n), make([]string, n)
	for i := range n {
		if i%2 == 0 {
			id, err := age.GenerateHybridIdentity()
			if err != nil {
				t.Fatal(err)
			}
			identities[i], names[i] = id, id.Recipient().String()
		} else {
			id, err := age.GenerateX25519Identity()
			if err != nil {
				t.Fatal(err)
			}
			identities[i], names[i] = id, id.Recipient().String()
		}
	}
	recipients, err := ParseRecipients(names)
	if err != nil {
		t.Fatal(err)
	}
	return identities, recipients
}

func subject(t testing.TB, c keys.Commitments, node uint32) Subject {
	t.Helper()
	public, err := c.Public(node)
	if err != nil {
		t.Fatal(err)
	}
	return Subject{ChainID: "chain-1", Round: 4, Node: node, Public: public}
}

// lost is a 3-of-4 sharing whose nodes have backed up their shares for 2 of 3.
type lost struct {
	sharing    keys.Commitments
	shares     []keys.Share
	identities []age.Identity
	backups    []Backup
}

func lose(t testing.TB) lost {
	t.Helper()
	var l lost
	var recipients []age.Recipient
	var err error
	if l.sharing, l.shares, err = keys.Split(rand.Reader, 3, 4); err != nil {
		t.Fatal(err)
	}
	l.identities, recipients = committee(t, 3)
	for _, s := range l.shares {
		b, err := Make(rand.Reader, subject(t, l.sharing, s.Index), s, 2, recipients)
		if err != nil {
			t.Fatal(err)
		}
		read, err := ParseBackup(b.Encode())
		if err != nil {
			t.Fatal(err)
		}
		if err := read.Check(subject(t, l.sharing, s.Index), 2, 3); err != nil {
			t.Fatal(err)
		}
		l.backups = append(l.backups, read)
	}
	return l
}

// piece opens a backup as a member.
func (l lost) piece(t testing.TB, b Backup, member int) Piece {
	t.Helper()
	opened, err := b.Open(l.identities[member])
	if err != nil || len(opened) != 1 || opened[0].Number() != uint32(member+1) || !opened[0].Subject().equal(b.Subject) {
		t.Fatalf("member %d opened %d pieces: %v", member, len(opened), err)
	}
	return opened[0]
}

// drill is a recovery by some members, from the backups of some nodes, to three
// new nodes of which two make a key.
func (l lost) drill(t *testing.T, backups []Backup, members ...int) (dkg.Round, []dkg.Deal, map[uint32]*keys.Recipient) {
	t.Helper()
	combined, err := Combine(l.sharing, backups)
	if err != nil {
		t.Fatal(err)
	}
	round := dkg.Round{ChainID: "chain-1", Number: 5, Threshold: 2, Dealers: []uint32{1, 2, 3}, Old: combined.Commitments, Context: []byte("the new genesis")}
	fresh := map[uint32]*keys.Recipient{}
	for _, i := range []uint32{5, 6, 7} {
		r, err := keys.NewRecipient()
		if err != nil {
			t.Fatal(err)
		}
		fresh[i] = r
		round.Members = append(round.Members, dkg.Member{Index: i, Key: r.Public()})
	}
	var deals []dkg.Deal
	for _, m := range members { // each on a computer of its own
		shares, err := combined.Take(l.identities[m])
		if err != nil || len(shares) != 1 || shares[0].Index != uint32(m+1) {
			t.Fatalf("member %d took %d shares: %v", m, len(shares), err)
		}
		deal, err := Deal(rand.Reader, round, &shares[0])
		if err != nil {
			t.Fatal(err)
		}
		if !shares[0].IsZero() {
			t.Error("a member's share was left in memory")
		}
		deals = append(deals, deal)
	}
	return round, deals, fresh
}

// TestAllNodesLost is the whole drill: four nodes are gone, two of three committee
// members deal from three of their backups, and three other nodes go on with the
// key, which nobody held meanwhile.
func TestAllNodesLost(t *testing.T) {
	l := lose(t)
	id := keys.Disk("svm1owner/web", "00112233445566778899aabbccddeeff")
	want := sign(t, l.sharing, l.shares[:3], id)
	for _, members := range [][]int{{0, 1}, {2, 0}, {1, 2}, {0, 1, 2}} {
		round, deals, fresh := l.drill(t, []Backup{l.backups[3], l.backups[0], l.backups[2]}, members...)
		o, err := round.Finalise(deals, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !o.Commitments.GroupKey().Equal(l.sharing.GroupKey()) || o.Commitments.Threshold() != 2 {
			t.Fatal("the group key changed")
		}
		var shares []keys.Share
		for i, r := range fresh {
			s, err := round.Share(o, i, r, deals, nil)
			if err != nil {
				t.Fatal(err)
			}
			shares = append(shares, s)
			elsewhere := round
			elsewhere.Context = []byte("another genesis")
			if _, err := elsewhere.Share(o, i, r, deals, nil); err == nil {
				t.Fatal("a share was taken for another genesis than the members dealt for")
			}
		}
		if got := sign(t, o.Commitments, shares[:2], id); got != want {
			t.Fatal("the key changed")
		}
	}
}

func sign(t *testing.T, c keys.Commitments, shares []keys.Share, id keys.ID) keys.Signature {
	t.Helper()
	var partials []keys.Partial
	for _, s := range shares {
		p, err := s.Partial(id)
		if err != nil {
			t.Fatal(err)
		}
		partials = append(partials, p)
	}
	sigma, bad, err := keys.CombineVerified(c.GroupKey(), c, id, partials)
	if err != nil || bad != nil {
		t.Fatal(bad, err)
	}
	return sigma
}

// TestK10_FewMembersRecoverNothing: fewer than k members make no round, and
// strangers none of the members' shares.
func TestK10_FewMembersRecoverNothing(t *testing.T) {
	l := lose(t)
	round, deals, _ := l.drill(t, l.backups, 1)
	if _, err := round.Finalise(deals, nil, nil); !errors.Is(err, dkg.ErrTooFew) {
		t.Errorf("error is %v, want ErrTooFew", err)
	}
	combined, err := Combine(l.sharing, l.backups)
	if err != nil {
		t.Fatal(err)
	}
	if combined.Commitments.Threshold() != 2 || !slices.Equal(combined.Nodes, []uint32{1, 2, 3}) {
		t.Errorf("combined is %d of the committee, of nodes %v", combined.Commitments.Threshold(), combined.Nodes)
	}
	shares, err := combined.Take(l.identities[1])
	if err != nil {
		t.Fatal(err)
	}
	stranger, _ := committee(t, 1)
	if _, err := combined.Take(stranger[0]); !errors.Is(err, ErrNotYours) {
		t.Errorf("error is %v, want ErrNotYours", err)
	}
	wrong := round
	wrong.Old = l.sharing
	if _, err := Deal(rand.Reader, wrong, &shares[0]); err == nil {
		t.Error("a member's share was dealt as a node's")
	}
}

// TestWhoIsTwoMembers deals twice.
func TestWhoIsTwoMembers(t *testing.T) {
	l := lose(t)
	combined, err := Combine(l.sharing, l.backups)
	if err != nil {
		t.Fatal(err)
	}
	shares, err := combined.Take(l.identities[2], l.identities[0])
	if err != nil || len(shares) != 2 || shares[0].Index != 1 || shares[1].Index != 3 {
		t.Fatalf("shares are %v: %v", shares, err)
	}
}

func TestCombineRefuses(t *testing.T) {
	l, other := lose(t), lose(t)
	epoch := l.backups[1]
	epoch.Epoch++
	coarse := l.backups[1]
	coarse.Commitments = coarse.Commitments[:1]
	for name, backups := range map[string][]Backup{
		"too few":           l.backups[:2],
		"one twice":         {l.backups[0], l.backups[0], l.backups[1]},
		"another sharing's": {l.backups[0], other.backups[1], l.backups[2]},
		"another epoch's":   {l.backups[0], epoch, l.backups[2]},
		"another k":         {l.backups[0], coarse, l.backups[2]},
	} {
		if _, err := Combine(l.sharing, backups); err == nil {
			t.Errorf("%s: combined", name)
		}
	}
}

func reindex(s keys.Share, index uint32) keys.Share {
	s.Index = index
	return s
}

// TestNodeFillsEnvelopesWrongly: the chain cannot see it, the member does.
func TestNodeFillsEnvelopesWrongly(t *testing.T) {
	l := lose(t)
	b := l.backups[0]
	b.Sealed = slices.Clone(b.Sealed)
	wrong := l.piece(t, b, 0)
	wrong.share = reindex(l.shares[1], 1)
	recipient := l.identities[0].(*age.HybridIdentity).Recipient()
	var err error
	if b.Sealed[0], err = wrong.seal(recipient); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Open(l.identities[0]); err == nil || !strings.Contains(err.Error(), "envelope 1 of the backup of node 1") {
		t.Fatalf("error is %v, want one that names node and envelope", err)
	}
	right := l.piece(t, l.backups[0], 0)
	if b.Sealed[1], err = right.seal(recipient); err != nil { // piece 1 in envelope 2
		t.Fatal(err)
	}
	if _, err := b.Open(l.identities[0]); err == nil || !strings.Contains(err.Error(), "envelope 2") {
		t.Fatalf("error is %v, want one about envelope 2", err)
	}
	b.Sealed[1] = []byte("age-encryption.org/v1\nnonsense")
	if pieces, err := b.Open(l.identities[2]); len(pieces) != 1 || err == nil || !strings.Contains(err.Error(), "envelope 2") {
		t.Fatalf("%d pieces, error %v", len(pieces), err)
	}
	stranger, _ := committee(t, 1)
	if _, err := l.backups[0].Open(stranger[0]); !errors.Is(err, ErrNotYours) {
		t.Errorf("error is %v, want ErrNotYours", err)
	}
	if _, err := readPiece(make([]byte, maxSealedPiece+1), stranger[0]); err == nil {
		t.Error("too long a piece was opened")
	}
}

func TestCheckRefuses(t *testing.T) {
	l := lose(t)
	good, want := l.backups[0], subject(t, l.sharing, 1)
	_, recipients := committee(t, 3)
	f, err := keys.PolynomialOf(rand.Reader, l.shares[1], 2)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Backup){
		"other chain":  func(b *Backup) { b.ChainID = "chain-2" },
		"other epoch":  func(b *Backup) { b.Epoch = 1 },
		"other round":  func(b *Backup) { b.Round = 1 },
		"other node":   func(b *Backup) { b.Node = 2 },
		"other share":  func(b *Backup) { b.Public = l.backups[1].Public },
		"other pieces": func(b *Backup) { b.Commitments = l.backups[1].Commitments },
		"other k":      func(b *Backup) { b.Commitments = b.Commitments[:1] },
		"fewer pieces": func(b *Backup) { b.Sealed = b.Sealed[:2] },
		"swapped":      func(b *Backup) { b.Sealed = []([]byte){b.Sealed[1], b.Sealed[0], b.Sealed[2]} },
		"altered":      func(b *Backup) { b.Sealed = []([]byte){b.Sealed[0], b.Sealed[1], b.Sealed[2][1:]} },
		"no proof":     func(b *Backup) { b.Proof = keys.Proof{} },
		"proof by another": func(b *Backup) {
			if b.Proof, err = f.Prove(rand.Reader, b.statement()); err != nil {
				t.Fatal(err)
			}
		},
	} {
		b := good
		change(&b)
		if b.Check(want, 2, 3) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for name, f := range map[string]func() error{
		"too few members":  func() error { _, err := Make(rand.Reader, want, l.shares[0], 4, recipients); return err },
		"k of 0":           func() error { _, err := Make(rand.Reader, want, l.shares[0], 0, recipients); return err },
		"another's share":  func() error { _, err := Make(rand.Reader, want, l.shares[1], 2, recipients); return err },
		"no chain":         func() error { _, err := Make(rand.Reader, Subject{Node: 1}, l.shares[0], 2, recipients); return err },
		"no randomness":    func() error { _, err := Make(bytes.NewReader(nil), want, l.shares[0], 2, recipients); return err },
		"too many members": func() error { _, err := ParseRecipients(make([]string, MaxMembers+1)); return err },
		"nobody":           func() error { _, err := ParseRecipients(nil); return err },
		"twice":            func() error { r := name(t); _, err := ParseRecipients([]string{r, r}); return err },
		"upper case":       func() error { _, err := ParseRecipients([]string{strings.ToUpper(name(t))}); return err },
	} {
		if f() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	secret, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseRecipients([]string{secret.String()}); err == nil || strings.Contains(err.Error(), secret.String()[:20]) {
		t.Error("a private key was accepted, or repeated")
	}
}

func name(t *testing.T) string {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return id.Recipient().String()
}

func TestPiecesPrintRedacted(t *testing.T) {
	l := lose(t)
	p := l.piece(t, l.backups[0], 0)
	var out strings.Builder
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "piece", p)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		fmt.Fprintf(&out, " "+verb, p)
	}
	b, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(b)
	if strings.Count(out.String(), redacted) != 8 {
		t.Errorf("a piece prints %s", out.String())
	}
	p.Wipe()
	if !p.share.IsZero() {
		t.Error("a wiped piece is not zero")
	}
}

func FuzzParseBackup(f *testing.F) {
	l := lose(f)
	f.Add(l.backups[0].Encode())
	f.Add([]byte{backupVersion, 0, 1, 'c'})
	f.Fuzz(func(t *testing.T, in []byte) {
		b, err := ParseBackup(in)
		if err == nil && !bytes.Equal(b.Encode(), in) {
			t.Fatalf("%x was read as another backup", in)
		}
	})
}

func FuzzParsePiece(f *testing.F) {
	l := lose(f)
	good := l.backups[0].Subject.encode([]byte(labelPiece))
	good = append(good, 0, 0, 0, 1)
	f.Add(append(good, l.shares[0].Bytes()...))
	f.Add([]byte(labelPiece))
	f.Fuzz(func(t *testing.T, in []byte) {
		p, err := parsePiece(in)
		if err != nil {
			return
		}
		again := append(p.subject.encode([]byte(labelPiece)), 0, 0, byte(p.share.Index>>8), byte(p.share.Index))
		if !bytes.Equal(append(again, p.share.Bytes()...), in) {
			t.Fatalf("%x was read as another piece", in)
		}
	})
}

func BenchmarkMake(b *testing.B) {
	c, shares, err := keys.Split(rand.Reader, 3, 4)
	if err != nil {
		b.Fatal(err)
	}
	_, recipients := committee(b, 5)
	for b.Loop() {
		if _, err := Make(rand.Reader, subject(b, c, 1), shares[0], 3, recipients); err != nil {
			b.Fatal(err)
		}
	}
}
