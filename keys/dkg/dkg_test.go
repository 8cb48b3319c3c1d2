package dkg

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

	"github.com/secretvm/secretvm/keys"
)

var testID = keys.Disk("svm1owner/web", "00112233445566778899aabbccddeeff")

// network is the nodes of one round and what they have posted.
type network struct {
	Round
	keys           map[uint32]*keys.Recipient
	seeds          map[uint32]Seed
	old            map[uint32]keys.Share
	deals          []Deal
	complaints     []Complaint
	justifications []Justification
}

func newNetwork(t testing.TB, threshold int, members []uint32) *network {
	t.Helper()
	n := &network{
		Round: Round{ChainID: "chain-1", Number: 1, Threshold: threshold, Dealers: members},
		keys:  map[uint32]*keys.Recipient{}, seeds: map[uint32]Seed{},
	}
	for _, i := range members {
		r, err := keys.NewRecipient()
		if err != nil {
			t.Fatal(err)
		}
		n.keys[i] = r
		n.Members = append(n.Members, Member{i, r.Public()})
	}
	return n
}

// reshare is the round that hands old's shares on to members.
func reshare(t testing.TB, old Outcome, shares map[uint32]keys.Share, threshold int, members []uint32) *network {
	t.Helper()
	n := newNetwork(t, threshold, members)
	n.Number, n.Old, n.old, n.Dealers = 2, old.Commitments, shares, nil
	for i := range shares {
		n.Dealers = append(n.Dealers, i)
	}
	slices.Sort(n.Dealers)
	return n
}

func (n *network) dealer(t testing.TB, index uint32) *Dealer {
	t.Helper()
	if _, ok := n.seeds[index]; !ok {
		s, err := NewSeed(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		n.seeds[index] = s
	}
	var share *keys.Share
	if s, ok := n.old[index]; ok {
		share = &s
	}
	d, err := n.NewDealer(index, n.seeds[index], share)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// post deals as index, lets cheat change the deal, and posts it if it passes what
// a chain checks.
func (n *network) post(t testing.TB, index uint32, cheat func(*Deal)) error {
	t.Helper()
	d, err := n.dealer(t, index).Deal(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if cheat != nil {
		cheat(&d)
	}
	read, err := n.Read(d.Encode())
	if err != nil {
		return err
	}
	n.deals = append(n.deals, read)
	return nil
}

func (n *network) postAll(t testing.TB, silent ...uint32) {
	t.Helper()
	for _, i := range n.Dealers {
		if slices.Contains(silent, i) {
			continue
		}
		if err := n.post(t, i, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// complain lets every member open every deal and complain about wrong ones.
func (n *network) complain(t testing.TB) {
	t.Helper()
	for _, m := range n.Members {
		for _, d := range n.deals {
			if _, err := n.Open(d, m.Index, n.keys[m.Index]); err != nil {
				n.complaints = append(n.complaints, Complain(d, m.Index))
			}
		}
	}
}

// justify lets every dealer answer but the mute.
func (n *network) justify(t testing.TB, mute ...uint32) {
	t.Helper()
	for _, i := range n.Dealers {
		if slices.Contains(mute, i) {
			continue
		}
		answers, err := n.dealer(t, i).Justify(n.complaints)
		if err != nil && !errors.Is(err, ErrRevealing) {
			t.Fatal(err)
		}
		n.justifications = append(n.justifications, answers...)
	}
}

// finish finalises and takes every member's share.
func (n *network) finish(t testing.TB) (Outcome, map[uint32]keys.Share) {
	t.Helper()
	o, err := n.Finalise(n.deals, n.complaints, n.justifications)
	if err != nil {
		t.Fatal(err)
	}
	shares := make(map[uint32]keys.Share)
	for _, m := range n.Members {
		s, err := n.Share(o, m.Index, n.keys[m.Index], n.deals, n.justifications)
		if err != nil {
			t.Fatal(err)
		}
		shares[m.Index] = s
	}
	return o, shares
}

// run is a round in which nobody cheats.
func (n *network) run(t testing.TB) (Outcome, map[uint32]keys.Share) {
	t.Helper()
	n.postAll(t)
	n.complain(t)
	if len(n.complaints) != 0 {
		t.Fatalf("complaints about honest dealers: %v", n.complaints)
	}
	return n.finish(t)
}

// key makes the test key from the shares of the indexes.
func key(c keys.Commitments, shares map[uint32]keys.Share, indexes ...uint32) (keys.Signature, error) {
	var partials []keys.Partial
	for _, i := range indexes {
		p, err := shares[i].Partial(testID)
		if err != nil {
			return keys.Signature{}, err
		}
		partials = append(partials, p)
	}
	sigma, _, err := keys.CombineVerified(c.GroupKey(), c, testID, partials)
	return sigma, err
}

func wantFaults(t *testing.T, o Outcome, dealers ...uint32) {
	t.Helper()
	var got []uint32
	for _, f := range o.Faults {
		got = append(got, f.Dealer)
	}
	if !slices.Equal(got, dealers) {
		t.Fatalf("faults are %v, want dealers %v", o.Faults, dealers)
	}
}

func TestNewKey(t *testing.T) {
	for _, tt := range []struct {
		t       int
		members []uint32
	}{{1, []uint32{1}}, {2, []uint32{1, 2}}, {3, []uint32{1, 2, 3, 4}}, {2, []uint32{3, 7, 256}}, {5, []uint32{1, 2, 4, 5, 6, 8, 9}}} {
		t.Run(fmt.Sprintf("%d of %d", tt.t, len(tt.members)), func(t *testing.T) {
			n := newNetwork(t, tt.t, tt.members)
			o, shares := n.run(t)
			wantFaults(t, o)
			if o.Commitments.Threshold() != tt.t || !slices.Equal(o.Used, tt.members) {
				t.Fatalf("threshold %d of deals of %v", o.Commitments.Threshold(), o.Used)
			}
			first, err := key(o.Commitments, shares, tt.members[:tt.t]...)
			if err != nil {
				t.Fatal(err)
			}
			last, err := key(o.Commitments, shares, tt.members[len(tt.members)-tt.t:]...)
			if err != nil || first != last {
				t.Fatalf("two sets of members make different keys: %v", err)
			}
			if tt.t > 1 {
				if _, err := key(o.Commitments, shares, tt.members[1:tt.t]...); err == nil {
					t.Fatal("fewer than the threshold made the key")
				}
			}
		})
	}
}

// TestOutcomeDoesNotDependOnOrder: nodes see the same messages, but nothing
// should hang on the order in which a store hands them out.
func TestOutcomeDoesNotDependOnOrder(t *testing.T) {
	n := newNetwork(t, 2, []uint32{1, 2, 3})
	n.postAll(t)
	n.complaints = []Complaint{Complain(n.deals[0], 2)}
	n.justify(t)
	a, err := n.Finalise(n.deals, n.complaints, n.justifications)
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(n.deals)
	b, err := n.Finalise(append(n.deals, n.deals[0]), append(n.complaints, n.complaints...), n.justifications)
	if err != nil {
		t.Fatal(err)
	}
	if !a.Commitments.Equal(b.Commitments) || !slices.Equal(a.Used, b.Used) {
		t.Fatal("another outcome")
	}
}

// TestDealerSurvivesRestart: the same seed makes the same polynomial, another
// round another one.
func TestDealerSurvivesRestart(t *testing.T) {
	n := newNetwork(t, 2, []uint32{1, 2})
	seed := Seed{b: [SeedSize]byte{7}}
	n.seeds[1] = seed
	if err := n.post(t, 1, nil); err != nil {
		t.Fatal(err)
	}
	stored, err := ParseSeed(seed.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	again, err := n.NewDealer(1, stored, nil)
	if err != nil {
		t.Fatal(err)
	}
	answers, err := again.Justify([]Complaint{Complain(n.deals[0], 2)})
	if err != nil || len(answers) != 1 {
		t.Fatal(answers, err)
	}
	if err := n.CheckJustification(n.deals[0], answers[0]); err != nil {
		t.Fatal(err)
	}
	n.Number++
	other, err := n.NewDealer(1, stored, nil)
	if err != nil {
		t.Fatal(err)
	}
	if other.polynomial.Commit().Equal(n.deals[0].Commitments) {
		t.Error("two rounds share a polynomial")
	}
	again.Wipe()
	stored.Wipe()
	if stored != (Seed{}) {
		t.Error("a wiped seed is not zero")
	}
	if _, err := again.polynomial.Share(1); err == nil {
		t.Error("a wiped polynomial has shares")
	}
}

func TestRoundRefuses(t *testing.T) {
	good := newNetwork(t, 2, []uint32{1, 2, 3})
	o, shares := good.run(t)
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Round){
		"no chain":          func(r *Round) { r.ChainID = "" },
		"long chain":        func(r *Round) { r.ChainID = strings.Repeat("x", maxChainID+1) },
		"no members":        func(r *Round) { r.Members = nil },
		"threshold 0":       func(r *Round) { r.Threshold = 0 },
		"threshold too big": func(r *Round) { r.Threshold = 4 },
		"member twice":      func(r *Round) { r.Members = append(slices.Clone(r.Members), r.Members[2]) },
		"member order":      func(r *Round) { r.Members = []Member{r.Members[1], r.Members[0], r.Members[2]} },
		"member 0":          func(r *Round) { r.Members = append([]Member{{0, r.Members[0].Key}}, r.Members...) },
		"bad key":           func(r *Round) { r.Members = []Member{{1, []byte("key")}, r.Members[1]} },
		"dealer order":      func(r *Round) { r.Dealers = []uint32{2, 1, 3} },
		"too few dealers":   func(r *Round) { r.Dealers = []uint32{1} },
		"dealer 257":        func(r *Round) { r.Dealers = []uint32{1, 2, 257} },
		"old at infinity":   func(r *Round) { r.Old = make(keys.Commitments, 2) },
	} {
		r := good.Round
		change(&r)
		if r.Validate() == nil {
			t.Errorf("%s: accepted", name)
		}
		if _, err := r.Finalise(good.deals, nil, nil); err == nil {
			t.Errorf("%s: finalised", name)
		}
	}
	share := shares[1]
	if _, err := good.NewDealer(9, Seed{}, nil); err == nil {
		t.Error("a stranger deals")
	}
	if _, err := good.NewDealer(1, Seed{}, &share); err == nil {
		t.Error("an old share was dealt in a round for a new key")
	}
	next := reshare(t, o, shares, 2, []uint32{1, 2, 3})
	if _, err := next.NewDealer(1, Seed{}, nil); err == nil {
		t.Error("resharing without a share")
	}
	if _, err := next.NewDealer(2, Seed{}, &share); err == nil {
		t.Error("resharing another node's share")
	}
	foreign, _, err := keys.Split(rand.Reader, 2, 3)
	if err != nil {
		t.Fatal(err)
	}
	next.Old = foreign
	if _, err := next.NewDealer(1, Seed{}, &share); err == nil {
		t.Error("resharing a share of another sharing")
	}
	if _, err := NewSeed(bytes.NewReader(nil)); err == nil {
		t.Error("a seed without randomness")
	}
}

// TestEverythingIsBoundToItsRound: a deal, its proof and its envelopes mean
// nothing in another round.
func TestEverythingIsBoundToItsRound(t *testing.T) {
	n := newNetwork(t, 2, []uint32{1, 2, 3})
	if err := n.post(t, 1, nil); err != nil {
		t.Fatal(err)
	}
	other, err := keys.NewRecipient()
	if err != nil {
		t.Fatal(err)
	}
	d := n.deals[0]
	for name, change := range map[string]func(*Round){
		"chain":      func(r *Round) { r.ChainID = "chain-2" },
		"epoch":      func(r *Round) { r.Epoch = 1 },
		"number":     func(r *Round) { r.Number = 2 },
		"members":    func(r *Round) { r.Members = []Member{r.Members[0], r.Members[1], {3, other.Public()}} },
		"dealers":    func(r *Round) { r.Dealers = []uint32{1, 2} },
		"old shares": func(r *Round) { r.Old = d.Commitments },
	} {
		r := n.Round
		change(&r)
		if r.Digest() == n.Digest() {
			t.Errorf("other %s: same digest", name)
		}
		if r.Check(d) == nil {
			t.Errorf("other %s: the deal was accepted", name)
		}
		if _, err := r.Open(d, 2, n.keys[2]); err == nil {
			t.Errorf("other %s: the share was opened", name)
		}
	}
	stolen := d
	stolen.Dealer = 2
	if n.Check(stolen) == nil {
		t.Error("node 2 posted node 1's deal as its own")
	}
}

func TestSecretsPrintRedacted(t *testing.T) {
	n := newNetwork(t, 2, []uint32{1, 2})
	d := n.dealer(t, 1)
	for _, secret := range []any{d, n.seeds[1], d.polynomial} {
		var out strings.Builder
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "secret", secret)
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
			fmt.Fprintf(&out, " "+verb, secret)
		}
		b, err := json.Marshal(secret)
		if err != nil {
			t.Fatal(err)
		}
		if text := out.String(); strings.Count(text, redacted) != 7 {
			t.Errorf("%T prints %s", secret, text)
		}
		if strings.ContainsAny(string(b), "0123456789") {
			t.Errorf("%T is encoded as %s", secret, b)
		}
	}
}
