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

// pieces opens a backup as the given members, each on a machine of its own, and
// brings the pieces to an operator under seal.
func (l lost) pieces(t testing.TB, b Backup, members ...int) []Piece {
	t.Helper()
	operator, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	var out []Piece
	for _, m := range members {
		opened, err := b.Open(l.identities[m])
		if err != nil || len(opened) != 1 || opened[0].Number() != uint32(m+1) || !opened[0].Subject().equal(b.Subject) {
			t.Fatalf("member %d opened %d pieces: %v", m, len(opened), err)
		}
		sealed, err := opened[0].Seal(operator.Recipient())
		if err != nil {
			t.Fatal(err)
		}
		p, err := ReadPiece(sealed, operator)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

// TestAllNodesLost is the whole drill: four nodes are gone, two of three committee
// members open three of their backups, and three other nodes go on with the key.
func TestAllNodesLost(t *testing.T) {
	l := lose(t)
	id := keys.Disk("svm1owner/web", "00112233445566778899aabbccddeeff")
	want := sign(t, l.sharing, l.shares[:3], id)

	round := dkg.Round{ChainID: "chain-1", Number: 5, Threshold: 2, Dealers: []uint32{1, 3, 4}, Old: l.sharing}
	fresh := map[uint32]*keys.Recipient{}
	for _, i := range []uint32{5, 6, 7} {
		r, err := keys.NewRecipient()
		if err != nil {
			t.Fatal(err)
		}
		fresh[i] = r
		round.Members = append(round.Members, dkg.Member{Index: i, Key: r.Public()})
	}
	var recovered []keys.Share
	for _, i := range round.Dealers {
		b := l.backups[i-1]
		s, bad, err := b.Assemble(l.pieces(t, b, 2, 0))
		if err != nil || bad != nil || s != l.shares[i-1] {
			t.Fatalf("node %d: bad %v, %v", i, bad, err)
		}
		recovered = append(recovered, s)
	}
	deals, err := Deals(rand.Reader, round, recovered)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range recovered {
		if !s.IsZero() {
			t.Error("a recovered share was left in memory")
		}
	}
	o, err := round.Finalise(deals, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !o.Commitments.GroupKey().Equal(l.sharing.GroupKey()) {
		t.Fatal("the group key changed")
	}
	var shares []keys.Share
	for i, r := range fresh {
		s, err := round.Share(o, i, r, deals, nil)
		if err != nil {
			t.Fatal(err)
		}
		shares = append(shares, s)
	}
	if got := sign(t, o.Commitments, shares, id); got != want {
		t.Fatal("the key changed")
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

func TestTooFewRecoveredShares(t *testing.T) {
	l := lose(t)
	r, err := keys.NewRecipient()
	if err != nil {
		t.Fatal(err)
	}
	round := dkg.Round{
		ChainID: "chain-1", Number: 5, Threshold: 1, Dealers: []uint32{1, 2, 3}, Old: l.sharing,
		Members: []dkg.Member{{Index: 9, Key: r.Public()}},
	}
	if _, err := Deals(rand.Reader, round, slices.Clone(l.shares[:2])); !errors.Is(err, dkg.ErrTooFew) {
		t.Errorf("error is %v, want ErrTooFew", err)
	}
	wrong := slices.Clone(l.shares[:3])
	wrong[1].Index = 3
	if _, err := Deals(rand.Reader, round, wrong); err == nil || !strings.Contains(err.Error(), "node 3") {
		t.Errorf("error is %v, want one about node 3", err)
	}
}

func TestEveryPairOfMembersRecovers(t *testing.T) {
	l := lose(t)
	b := l.backups[2]
	for _, pair := range [][]int{{0, 1}, {0, 2}, {1, 2}, {2, 1, 0}, {0, 0, 1}} {
		s, bad, err := b.Assemble(l.pieces(t, b, pair...))
		if err != nil || bad != nil || s != l.shares[2] {
			t.Fatalf("members %v: bad %v, %v", pair, bad, err)
		}
	}
	for _, few := range [][]int{{}, {1}, {1, 1}} {
		if _, _, err := b.Assemble(l.pieces(t, b, few...)); err == nil {
			t.Fatalf("members %v made the share", few)
		}
	}
}

func reindex(s keys.Share, index uint32) keys.Share {
	s.Index = index
	return s
}

func TestWrongPiecesAreNamed(t *testing.T) {
	l := lose(t)
	b := l.backups[0]
	good := l.pieces(t, b, 0, 1, 2)
	forged := good[1]
	forged.share = reindex(l.shares[3], 2)
	moved := good[1]
	moved.share.Index = 3
	foreign := l.pieces(t, l.backups[1], 1)[0]
	epoch := good[1]
	epoch.subject.Epoch++
	beyond := good[1]
	beyond.share.Index = 4
	for _, tt := range []struct {
		name  string
		piece Piece
		bad   uint32
	}{{"forged", forged, 2}, {"moved", moved, 3}, {"another node's", foreign, 2}, {"another epoch's", epoch, 2}, {"beyond", beyond, 4}} {
		t.Run(tt.name, func(t *testing.T) {
			_, bad, err := b.Assemble([]Piece{good[0], tt.piece, tt.piece})
			if err == nil || !slices.Equal(bad, []uint32{tt.bad}) || !strings.Contains(err.Error(), fmt.Sprint(bad)) {
				t.Fatalf("bad %v, %v", bad, err)
			}
			s, bad, err := b.Assemble([]Piece{tt.piece, good[0], good[2]})
			if err != nil || !slices.Equal(bad, []uint32{tt.bad}) || s != l.shares[0] {
				t.Fatalf("bad %v, %v", bad, err)
			}
		})
	}
}

// TestNodeFillsEnvelopesWrongly: the chain cannot see it, the member does.
func TestNodeFillsEnvelopesWrongly(t *testing.T) {
	l := lose(t)
	b := l.backups[0]
	b.Sealed = slices.Clone(b.Sealed)
	wrong := l.pieces(t, b, 0)[0]
	wrong.share = reindex(l.shares[1], 1)
	recipient := l.identities[0].(*age.HybridIdentity).Recipient()
	var err error
	if b.Sealed[0], err = wrong.Seal(recipient); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Open(l.identities[0]); err == nil || !strings.Contains(err.Error(), "envelope 1 of the backup of node 1") {
		t.Fatalf("error is %v, want one that names node and envelope", err)
	}
	right := l.pieces(t, l.backups[0], 0)[0]
	if b.Sealed[1], err = right.Seal(recipient); err != nil { // piece 1 in envelope 2
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
	if _, err := ReadPiece(make([]byte, maxSealedPiece+1), stranger[0]); err == nil {
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
	p := l.pieces(t, l.backups[0], 0)[0]
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
