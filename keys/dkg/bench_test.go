package dkg

import (
	"crypto/rand"
	"fmt"
	"testing"
)

// sizes are node counts and their thresholds.
var sizes = []int{4, 16, 64}

// posted is a round of n nodes in which all have dealt.
func posted(b *testing.B, n int) *network {
	b.Helper()
	members := make([]uint32, n)
	for i := range members {
		members[i] = uint32(i + 1)
	}
	net := newNetwork(b, 2*n/3+1, members)
	for _, i := range members {
		d, err := net.dealer(b, i).Deal(rand.Reader)
		if err != nil {
			b.Fatal(err)
		}
		net.deals = append(net.deals, d)
	}
	return net
}

func BenchmarkRound(b *testing.B) {
	for _, size := range sizes {
		n := posted(b, size)
		encoded := n.deals[0].Encode()
		o, err := n.Finalise(n.deals, nil, nil)
		if err != nil {
			b.Fatal(err)
		}
		dealer := n.dealer(b, 1)
		for _, op := range []struct {
			name string
			f    func() error
		}{
			{"deal", func() error { _, err := dealer.Deal(rand.Reader); return err }},
			{"read", func() error { _, err := n.Read(encoded); return err }},
			{"open", func() error { _, err := n.Open(n.deals[0], 2, n.keys[2]); return err }},
			{"finalise", func() error { _, err := n.Finalise(n.deals, nil, nil); return err }},
			{"share", func() error { _, err := n.Share(o, 2, n.keys[2], n.deals, nil); return err }},
		} {
			b.Run(fmt.Sprintf("%s of %d", op.name, size), func(b *testing.B) {
				for b.Loop() {
					if err := op.f(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
