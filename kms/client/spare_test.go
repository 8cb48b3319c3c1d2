package client

import (
	"context"
	"crypto/rand"
	"sync/atomic"
	"testing"
	"time"

	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/kms/wire"
	"github.com/secretvm/secretvm/vm"
)

// TestSparesNodes: as many nodes as make a key are asked for their parts, and
// the others only when one of those fails.
func TestSparesNodes(t *testing.T) {
	for _, tt := range []struct {
		name string
		bad  func(m *manager, first *server) // what is the matter with a node that is asked first
		want int32                           // how many are asked
	}{
		{"all are well", func(*manager, *server) {}, 3},
		{"one refuses", func(_ *manager, n *server) { n.setLie(down) }, 4},
		{"one lies", func(m *manager, n *server) {
			_, others, err := keys.Split(rand.Reader, 3, 4)
			must(m.t, err)
			n.setLie(onPartials(func(p wire.Partials) any {
				m.mu.Lock()
				g := m.grants[p.Grant]
				m.mu.Unlock()
				return n.seal(g, n.share.Index, others[0], m.ids())
			}))
		}, 4},
		{"one is slow", func(m *manager, n *server) {
			m.mu.Lock()
			m.late[n] = time.Hour
			m.mu.Unlock()
		}, 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newManagerOf(t, 3, 4)
			c := m.client()
			s, err := c.newSession()
			must(t, err)
			defer s.Close()
			r := m.request()
			config, err := r.Config.Canonical()
			must(t, err)
			must(t, s.ask(t.Context(), func(ctx context.Context, about vm.Release) (vm.Evidence, error) {
				return echo{}.Quote(ctx, about.ReportData())
			}, r, config))
			nearest := s.nearest()
			if len(nearest) != 4 || nearest[0] != s.grantedBy {
				t.Fatalf("the nearest are %q, granted by %s", nearest, s.grantedBy)
			}
			var first *server
			for _, n := range m.nodes {
				if n.url == nearest[1] {
					first = n
				}
				m.mu.Lock()
				n.asked = new(atomic.Int32)
				m.mu.Unlock()
			}
			tt.bad(m, first)
			start := time.Now()
			must(t, s.collect(t.Context()))
			if took := time.Since(start); took > maxSpare {
				t.Errorf("it took %v", took)
			}
			m.check(s)
			var got int32
			for _, n := range m.nodes {
				got += min(1, n.asked.Load())
			}
			if got != tt.want {
				t.Errorf("%d nodes were asked, want %d", got, tt.want)
			}
		})
	}
}

// TestPatience: who is busy has more time to decide, as much as the least busy
// node says, and not as much as anybody says.
func TestPatience(t *testing.T) {
	for _, tt := range []struct {
		said []uint64 // milliseconds, by each node
		want time.Duration
	}{
		{nil, hedge},
		{[]uint64{0, 0, 0}, hedge},
		{[]uint64{90, 110, 100}, hedge},
		{[]uint64{700, 600, 900}, 1800 * time.Millisecond},
		{[]uint64{0, 600, 900}, hedge},
		{[]uint64{1 << 63, 1 << 62}, maxHedge},
	} {
		s := &Session{}
		for _, ms := range tt.said {
			s.views = append(s.views, view{status: wire.Status{DecideMillis: ms}})
		}
		if got := s.patience(); got != tt.want {
			t.Errorf("%v: patience is %v, want %v", tt.said, got, tt.want)
		}
	}
}

// TestPointsAreBounded: whatever nodes name, a machine reads and remembers a
// bounded number of points.
func TestPointsAreBounded(t *testing.T) {
	m := newManager(t)
	text := m.commitments.GroupKey().String()
	many := make([]string, keys.MaxNodes+1)
	for i := range many {
		many[i] = text
	}
	var p points
	if _, err := p.read(many...); vm.CodeOf(err) != vm.CodeMalformed {
		t.Errorf("%d points: %v", len(many), err)
	}
	got, err := p.read(many[1:]...)
	must(t, err)
	if len(got) != keys.MaxNodes || !got[0].Equal(m.commitments.GroupKey()) || len(p.known) != 1 {
		t.Errorf("%d points, %d known", len(got), len(p.known))
	}
	for range 2 * maxPoints {
		p.remember(text+string(rune(len(p.known))), got[0])
	}
	if len(p.known) > maxPoints {
		t.Errorf("%d points are remembered", len(p.known))
	}
}
