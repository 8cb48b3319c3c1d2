package dkg

import (
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/secretvm/secretvm/keys"
)

func TestReshareKeepsTheKey(t *testing.T) {
	for _, tt := range []struct {
		name     string
		oldT     int
		old      []uint32
		newT     int
		members  []uint32
		silent   []uint32
		wantUsed []uint32
	}{
		{"same nodes", 3, []uint32{1, 2, 3, 4}, 3, []uint32{1, 2, 3, 4}, nil, []uint32{1, 2, 3}},
		{"one joins", 3, []uint32{1, 2, 3, 4}, 4, []uint32{1, 2, 3, 4, 5}, nil, []uint32{1, 2, 3}},
		{"one is lost", 3, []uint32{1, 2, 3, 4}, 3, []uint32{2, 3, 4}, []uint32{1}, []uint32{2, 3, 4}},
		{"one is replaced", 3, []uint32{1, 2, 3, 4}, 3, []uint32{1, 2, 4, 5}, []uint32{3}, []uint32{1, 2, 4}},
		{"all are replaced", 3, []uint32{1, 2, 3, 4}, 2, []uint32{9, 10}, nil, []uint32{1, 2, 3}},
		{"grow from one", 1, []uint32{1}, 3, []uint32{1, 2, 3, 4}, nil, []uint32{1}},
		{"shrink to one", 3, []uint32{1, 2, 3, 4}, 1, []uint32{2}, nil, []uint32{1, 2, 3}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before, old := newNetwork(t, tt.oldT, tt.old).run(t)
			want, err := key(before.Commitments, old, tt.old[:tt.oldT]...)
			if err != nil {
				t.Fatal(err)
			}
			n := reshare(t, before, old, tt.newT, tt.members)
			n.postAll(t, tt.silent...)
			n.complain(t)
			after, shares := n.finish(t)
			wantFaults(t, after, tt.silent...)
			if !slices.Equal(after.Used, tt.wantUsed) {
				t.Fatalf("used %v, want %v", after.Used, tt.wantUsed)
			}
			if !after.Commitments.GroupKey().Equal(before.Commitments.GroupKey()) {
				t.Fatal("the group key changed")
			}
			if after.Commitments.Threshold() != tt.newT || len(shares) != len(tt.members) {
				t.Fatalf("%d shares, threshold %d", len(shares), after.Commitments.Threshold())
			}
			got, err := key(after.Commitments, shares, tt.members[len(tt.members)-tt.newT:]...)
			if err != nil {
				t.Fatal(err)
			}
			if got != want {
				t.Fatal("the key changed")
			}
		})
	}
}

// TestK4_OldAndNewSharesDoNotMix: whoever had t-1 shares before a resharing and
// has t-1 after it has no key, not even where together they are t and more.
func TestK4_OldAndNewSharesDoNotMix(t *testing.T) {
	before, old := newNetwork(t, 3, []uint32{1, 2, 3, 4}).run(t)
	after, shares := reshare(t, before, old, 3, []uint32{1, 2, 3, 4}).run(t)
	for i := range old {
		if old[i] == shares[i] {
			t.Fatalf("node %d has its old share", i)
		}
		if err := after.Commitments.Verify(old[i]); err == nil {
			t.Fatalf("node %d's old share is still one", i)
		}
	}
	for mask := 1; mask < 15; mask++ { // which of four are old
		mixed := maps.Clone(shares)
		for i := range uint32(4) {
			if mask>>i&1 == 1 {
				mixed[i+1] = old[i+1]
			}
		}
		for _, c := range []keys.Commitments{before.Commitments, after.Commitments} {
			var partials []keys.Partial
			olds := 0
			for i := uint32(1); i <= 3; i++ {
				if mixed[i] == old[i] {
					olds++
				}
				p, err := mixed[i].Partial(testID)
				if err != nil {
					t.Fatal(err)
				}
				partials = append(partials, p)
			}
			if olds == 0 || olds == 3 {
				continue
			}
			sigma, err := keys.Combine(3, partials)
			if err != nil {
				t.Fatal(err)
			}
			if keys.VerifyKey(c.GroupKey(), testID, sigma) == nil {
				t.Fatalf("%d old and %d new shares made the key", olds, 3-olds)
			}
		}
	}
}

func TestCheatingReshare(t *testing.T) {
	before, old := newNetwork(t, 3, []uint32{1, 2, 3, 4}).run(t)
	prove := func(n *network, d *Deal, f *keys.Polynomial) {
		d.Commitments = f.Commit()
		var err error
		if d.Proof, err = f.Prove(rand.Reader, n.statement(*d)); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("another secret", func(t *testing.T) {
		n := reshare(t, before, old, 3, []uint32{1, 2, 3, 4})
		err := n.post(t, 2, func(d *Deal) {
			f, err := keys.NewPolynomial(rand.Reader, 3)
			if err != nil {
				t.Fatal(err)
			}
			prove(n, d, f)
		})
		if err == nil || !strings.Contains(err.Error(), "first commitment") {
			t.Fatalf("error is %v, want one about the first commitment", err)
		}
	})
	t.Run("another node's share", func(t *testing.T) {
		n := reshare(t, before, old, 3, []uint32{1, 2, 3, 4})
		err := n.post(t, 2, func(d *Deal) {
			f, err := keys.PolynomialOf(rand.Reader, old[3], 3)
			if err != nil {
				t.Fatal(err)
			}
			prove(n, d, f)
		})
		if err == nil || !strings.Contains(err.Error(), "first commitment") {
			t.Fatalf("error is %v, want one about the first commitment", err)
		}
	})
	t.Run("a share of an older sharing", func(t *testing.T) {
		after, _ := reshare(t, before, old, 3, []uint32{1, 2, 3, 4}).run(t)
		stale := old[2]
		n := reshare(t, after, old, 3, []uint32{1, 2, 3, 4})
		if _, err := n.NewDealer(2, Seed{}, &stale); err == nil {
			t.Fatal("a stale share was dealt")
		}
	})
	t.Run("wrong share, mute", func(t *testing.T) {
		n := reshare(t, before, old, 4, []uint32{1, 2, 3, 4, 5})
		n.postAll(t, 1)
		n.cheating(t, 1, 5)
		n.complain(t)
		n.justify(t, 1)
		after, shares := n.finish(t)
		wantFaults(t, after, 1)
		if !slices.Equal(after.Used, []uint32{2, 3, 4}) || !after.Commitments.GroupKey().Equal(before.Commitments.GroupKey()) {
			t.Fatalf("used %v", after.Used)
		}
		if _, err := key(after.Commitments, shares, 1, 2, 3, 5); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("wrong share, answered", func(t *testing.T) {
		n := reshare(t, before, old, 4, []uint32{1, 2, 3, 4, 5})
		n.postAll(t, 1)
		n.cheating(t, 1, 5)
		n.complain(t)
		n.justify(t)
		after, shares := n.finish(t)
		wantFaults(t, after)
		if _, err := key(after.Commitments, shares, 1, 2, 3, 5); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("two deals", func(t *testing.T) {
		n := reshare(t, before, old, 3, []uint32{1, 2, 3, 4})
		n.postAll(t)
		second, err := n.dealer(t, 4).Deal(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if !n.Equivocates(n.deals[3], second) {
			t.Fatal("not detected")
		}
	})
	t.Run("too few", func(t *testing.T) {
		n := reshare(t, before, old, 3, []uint32{1, 2, 3, 4})
		n.postAll(t, 1, 3)
		if _, err := n.Finalise(n.deals, nil, nil); !errors.Is(err, ErrTooFew) || !strings.Contains(err.Error(), "2 of 4, want 3") {
			t.Fatalf("error is %v, want ErrTooFew", err)
		}
	})
}

// TestManyReshares hands a key on at random thresholds and node sets.
func TestManyReshares(t *testing.T) {
	o, shares := newNetwork(t, 2, []uint32{1, 2, 3}).run(t)
	want, err := key(o.Commitments, shares, 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	members := []uint32{1, 2, 3}
	for i := range 8 {
		var b [2]byte
		if _, err := rand.Read(b[:]); err != nil {
			t.Fatal(err)
		}
		if b[0]%2 == 0 || len(members) == 2 {
			members = append(slices.Clone(members), members[len(members)-1]+1)
		} else {
			members = slices.Delete(slices.Clone(members), int(b[1])%len(members), int(b[1])%len(members)+1)
		}
		threshold := 2*len(members)/3 + 1
		t.Run(fmt.Sprintf("%d: %d of %v", i, threshold, members), func(t *testing.T) {
			n := reshare(t, o, shares, threshold, members)
			n.Number = uint64(i + 2)
			o, shares = n.run(t)
			got, err := key(o.Commitments, shares, members[len(members)-threshold:]...)
			if err != nil || got != want {
				t.Fatalf("another key: %v", err)
			}
		})
	}
}
