package dkg

import (
	"bytes"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/keys"
)

// cheating makes dealer index give victim a share of another polynomial, under
// commitments and a proof that are right.
func (n *network) cheating(t testing.TB, index uint32, victims ...uint32) {
	t.Helper()
	dealer := n.dealer(t, index)
	d, err := dealer.Deal(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, victim := range victims {
		wrong, err := dealer.polynomial.Share(victim%keys.MaxNodes + 1)
		if err != nil {
			t.Fatal(err)
		}
		at, _ := n.member(victim)
		if d.Sealed[at], err = keys.Seal(n.Members[at].Key, n.info(index, victim), wrong.Bytes()); err != nil {
			t.Fatal(err)
		}
	}
	if d.Proof, err = dealer.polynomial.Prove(rand.Reader, n.statement(d)); err != nil {
		t.Fatal(err)
	}
	if err := n.Check(d); err != nil {
		t.Fatalf("the chain sees the cheating, which it cannot: %v", err)
	}
	n.deals = append(n.deals, d)
}

func others(n *network, without ...uint32) (out []uint32) {
	for _, d := range n.Dealers {
		if !slices.Contains(without, d) {
			out = append(out, d)
		}
	}
	return out
}

// TestCheatingDeals: what everybody can see is refused before it is on the chain.
func TestCheatingDeals(t *testing.T) {
	n := newNetwork(t, 3, []uint32{1, 2, 3, 4})
	proven := func(f *keys.Polynomial, d *Deal) {
		d.Commitments = f.Commit()
		var err error
		if d.Proof, err = f.Prove(rand.Reader, n.statement(*d)); err != nil {
			t.Fatal(err)
		}
	}
	draw := func(degree int) *keys.Polynomial {
		f, err := keys.NewPolynomial(rand.Reader, degree)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	for _, tt := range []struct {
		name, wantErr string
		cheat         func(*Deal)
	}{
		{"degree too low", "bytes, want", func(d *Deal) { proven(draw(2), d) }},
		{"degree too high", "bytes, want", func(d *Deal) { proven(draw(4), d) }},
		{"infinity at the top", "infinity", func(d *Deal) { d.Commitments[2] = keys.PublicKey{} }},
		{"infinity at the bottom", "infinity", func(d *Deal) { d.Commitments[0] = keys.PublicKey{} }},
		{"unknown polynomial", "does not know", func(d *Deal) { d.Commitments = draw(3).Commit() }},
		{"unknown top coefficient", "does not know", func(d *Deal) { d.Commitments[2] = draw(1).Commit()[0] }},
		{"no proof", "does not know", func(d *Deal) { d.Proof = keys.Proof{} }},
		{"proof not reduced", "not a reduced", func(d *Deal) { copy(d.Proof[:], bytes.Repeat([]byte{0xff}, 32)) }},
		{"shares swapped after the proof", "does not know", func(d *Deal) { d.Sealed[0], d.Sealed[1] = d.Sealed[1], d.Sealed[0] }},
		{"a share missing", "bytes, want", func(d *Deal) { d.Sealed = d.Sealed[1:] }},
		{"a share too long", "bytes, want", func(d *Deal) { d.Sealed[3] = append(d.Sealed[3], 0) }},
		{"another dealer's name", "does not know", func(d *Deal) { d.Dealer = 2 }},
		{"a stranger's name", "does not deal", func(d *Deal) { d.Dealer = 5 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := n.post(t, 1, tt.cheat); err == nil || !strings.Contains(err.Error(), tt.wantErr) {
				t.Fatalf("error is %v, want one with %q", err, tt.wantErr)
			}
		})
	}
	// A chain that forgot to check still comes to the same outcome.
	n.postAll(t, 1)
	bad, err := n.dealer(t, 1).Deal(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	bad.Commitments = draw(2).Commit()
	o, err := n.Finalise(append(n.deals, bad), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	wantFaults(t, o, 1)
}

// TestK4_LastDealerCannotChooseTheKey: dealer 4 has seen the others' deals and
// subtracts their commitments from ones that it knows, so that the sum is its
// own. At t = ⌊2n/3⌋+1 the liars may outnumber the honest, whose few shares it
// could then make right: complaints do not stop it, the proof does.
func TestK4_LastDealerCannotChooseTheKey(t *testing.T) {
	n := newNetwork(t, 3, []uint32{1, 2, 3, 4})
	n.postAll(t, 4)
	known, err := keys.NewPolynomial(rand.Reader, 3)
	if err != nil {
		t.Fatal(err)
	}
	err = n.post(t, 4, func(d *Deal) {
		// Dealers 1 and 2 weigh 2 and -1 at zero: 2·known - Σ others.
		rest, err := keys.SumCommitments([]keys.Commitments{n.deals[0].Commitments, n.deals[1].Commitments, n.deals[2].Commitments})
		if err != nil {
			t.Fatal(err)
		}
		if d.Commitments, err = keys.InterpolateCommitments([]uint32{1, 2}, []keys.Commitments{known.Commit(), rest}); err != nil {
			t.Fatal(err)
		}
		if d.Proof, err = known.Prove(rand.Reader, n.statement(*d)); err != nil {
			t.Fatal(err)
		}
	})
	if err == nil || !strings.Contains(err.Error(), "does not know") {
		t.Fatalf("error is %v, want a failed proof", err)
	}
}

func TestWrongShareIsJustifiedOrCosts(t *testing.T) {
	t.Run("mute", func(t *testing.T) {
		n := newNetwork(t, 3, []uint32{1, 2, 3, 4})
		n.postAll(t, 2)
		n.cheating(t, 2, 4)
		n.complain(t)
		if len(n.complaints) != 1 || n.complaints[0].Dealer != 2 || n.complaints[0].Member != 4 {
			t.Fatalf("complaints are %v", n.complaints)
		}
		if err := n.CheckComplaint(n.deals[3], n.complaints[0]); err != nil {
			t.Fatal(err)
		}
		n.justify(t, 2)
		o, shares := n.finish(t)
		wantFaults(t, o, 2)
		if !o.Faults[0].Lied || !strings.Contains(o.Faults[0].Reason, "member 4") {
			t.Fatalf("fault is %v", o.Faults[0])
		}
		if _, err := key(o.Commitments, shares, 1, 2, 4); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("answered", func(t *testing.T) {
		n := newNetwork(t, 3, []uint32{1, 2, 3, 4})
		n.postAll(t, 2)
		n.cheating(t, 2, 4)
		n.complain(t)
		n.justify(t)
		o, shares := n.finish(t)
		wantFaults(t, o)
		if _, err := key(o.Commitments, shares, 2, 3, 4); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("answered wrongly", func(t *testing.T) {
		n := newNetwork(t, 3, []uint32{1, 2, 3, 4})
		n.postAll(t, 2)
		n.cheating(t, 2, 4)
		n.complain(t)
		n.justify(t)
		n.justifications[0].Share[31] ^= 1
		if n.CheckJustification(n.deals[3], n.justifications[0]) == nil {
			t.Fatal("a wrong answer passed")
		}
		o, _ := n.finish(t)
		wantFaults(t, o, 2)
	})
	t.Run("answered with another member's share", func(t *testing.T) {
		n := newNetwork(t, 3, []uint32{1, 2, 3, 4})
		n.postAll(t, 2)
		n.cheating(t, 2, 4)
		n.complain(t)
		answers, err := n.dealer(t, 2).Justify([]Complaint{Complain(n.deals[3], 1)})
		if err != nil {
			t.Fatal(err)
		}
		n.justifications = answers
		o, _ := n.finish(t)
		wantFaults(t, o, 2)
		answers[0].Member = 4
		if n.CheckJustification(n.deals[3], answers[0]) == nil {
			t.Fatal("member 1's share passed for member 4's")
		}
	})
	t.Run("not opened at all", func(t *testing.T) {
		n := newNetwork(t, 3, []uint32{1, 2, 3, 4})
		n.postAll(t, 2)
		d, err := n.dealer(t, 2).Deal(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		d.Sealed[2] = make([]byte, SealedSize)
		if d.Proof, err = n.dealer(t, 2).polynomial.Prove(rand.Reader, n.statement(d)); err != nil {
			t.Fatal(err)
		}
		n.deals = append(n.deals, d)
		n.complain(t)
		if len(n.complaints) != 1 || n.complaints[0].Member != 3 {
			t.Fatalf("complaints are %v", n.complaints)
		}
		if _, err := n.Share(Outcome{Used: []uint32{2}}, 3, n.keys[3], n.deals, nil); err == nil {
			t.Fatal("a share was taken from an envelope of zeros")
		}
		n.justify(t)
		o, shares := n.finish(t)
		wantFaults(t, o)
		if _, err := key(o.Commitments, shares, 1, 2, 3); err != nil {
			t.Fatal(err)
		}
	})
}

// TestCheatedByMany: the threshold of complaints excludes a dealer whatever it
// answers, and the dealer reveals nothing.
func TestCheatedByMany(t *testing.T) {
	n := newNetwork(t, 3, []uint32{1, 2, 3, 4})
	n.postAll(t, 2)
	n.cheating(t, 2, 1, 3, 4)
	n.complain(t)
	if _, err := n.dealer(t, 2).Justify(n.complaints); !errors.Is(err, ErrRevealing) {
		t.Fatalf("error is %v, want ErrRevealing", err)
	}
	for _, c := range n.complaints { // it answers all the same
		answers, err := n.dealer(t, 2).Justify([]Complaint{c})
		if err != nil {
			t.Fatal(err)
		}
		n.justifications = append(n.justifications, answers...)
	}
	o, _ := n.finish(t)
	wantFaults(t, o, 2)
}

// TestFalseComplaints: t-1 liars make an honest dealer reveal what they know
// already, and no more; complaints that are about nothing do not count.
func TestFalseComplaints(t *testing.T) {
	n := newNetwork(t, 3, []uint32{1, 2, 3, 4})
	n.postAll(t)
	for _, liar := range []uint32{3, 4} {
		n.complaints = append(n.complaints, Complain(n.deals[0], liar), Complain(n.deals[0], liar))
	}
	n.justify(t)
	if len(n.justifications) != 2 {
		t.Fatalf("%d answers, want 2", len(n.justifications))
	}
	o, shares := n.finish(t)
	wantFaults(t, o)
	if _, err := key(o.Commitments, shares, 1, 2, 3); err != nil {
		t.Fatal(err)
	}

	stranger, other := Complain(n.deals[1], 5), Complain(n.deals[1], 3)
	other.Deal[0] ^= 1
	swapped := Complain(n.deals[1], 3)
	swapped.Dealer = 3
	unknown := Complain(n.deals[1], 3)
	unknown.Dealer = 9
	for name, c := range map[string]Complaint{"stranger": stranger, "other deal": other, "other dealer": swapped, "unknown dealer": unknown} {
		if n.CheckComplaint(n.deals[1], c) == nil {
			t.Errorf("%s: the complaint counts", name)
		}
	}
	o, err := n.Finalise(n.deals, append(n.complaints, stranger, other, swapped, unknown), n.justifications)
	if err != nil {
		t.Fatal(err)
	}
	wantFaults(t, o)
	answers, err := n.dealer(t, 2).Justify([]Complaint{stranger})
	if err != nil || len(answers) != 0 {
		t.Fatalf("a stranger was answered: %v, %v", answers, err)
	}
}

func TestSilentDealers(t *testing.T) {
	n := newNetwork(t, 3, []uint32{1, 2, 3, 4})
	n.postAll(t, 3)
	o, shares := n.finish(t)
	wantFaults(t, o, 3)
	if o.Faults[0].Lied {
		t.Error("silence is called a lie")
	}
	if _, err := key(o.Commitments, shares, 2, 3, 4); err != nil {
		t.Fatal("a silent dealer's own share does not work:", err)
	}
	n = newNetwork(t, 3, []uint32{1, 2, 3, 4})
	n.postAll(t, 3, 4)
	o, err := n.Finalise(n.deals, nil, nil)
	if !errors.Is(err, ErrTooFew) {
		t.Fatalf("error is %v, want ErrTooFew", err)
	}
	for _, want := range []string{"2 of 4, want 3", "node 3: posted no deal", "node 4: posted no deal"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
	wantFaults(t, o, 3, 4)
}

// TestTwoDeals: a chain takes one deal of each dealer, but whoever sees two can
// show it.
func TestTwoDeals(t *testing.T) {
	n := newNetwork(t, 2, []uint32{1, 2, 3})
	n.postAll(t)
	second, err := n.dealer(t, 2).Deal(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if !n.Equivocates(n.deals[1], second) || n.Equivocates(second, second) || n.Equivocates(n.deals[0], second) {
		t.Error("two deals of one dealer are not told from one")
	}
	forged := second
	forged.Proof = keys.Proof{}
	if n.Equivocates(n.deals[1], forged) {
		t.Error("a forged deal convicts a dealer")
	}
	o, err := n.Finalise(append(n.deals, second), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	wantFaults(t, o, 2)
	if !slices.Equal(o.Used, others(n, 2)) {
		t.Errorf("used %v", o.Used)
	}
}

func TestMissingDealsAreNamed(t *testing.T) {
	n := newNetwork(t, 2, []uint32{1, 2})
	o, _ := n.run(t)
	if _, err := n.Share(o, 1, n.keys[1], n.deals[:1], nil); err == nil || !strings.Contains(err.Error(), "node 2 is missing") {
		t.Errorf("error is %v", err)
	}
	if _, err := n.Share(o, 3, n.keys[1], n.deals, nil); err == nil {
		t.Error("a stranger took a share")
	}
	if _, err := n.Share(o, 1, n.keys[2], n.deals, nil); err == nil {
		t.Error("member 2 opened member 1's share")
	}
	if _, err := n.Open(Deal{Dealer: 1}, 2, n.keys[2]); err == nil {
		t.Error("a deal without shares was opened")
	}
}
