package client

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/kms/wire"
	"github.com/secretvm/secretvm/vm"
)

func TestHonestNodes(t *testing.T) {
	m, start := newManager(t), time.Now()
	s, err := m.ask()
	must(t, err)
	m.check(s)
	if block, offered, heard := s.Decided(); !block.Equal(blockTime) || offered.Before(start) || heard.Before(offered) || heard.After(time.Now()) {
		t.Errorf("decided at %s, offered %s, heard %s", block, offered, heard)
	}
	if len(s.Suspects()) != 0 || s.Grant().Generation != 5 {
		t.Errorf("suspects %v, generation %d", s.Suspects(), s.Grant().Generation)
	}
	if _, err := s.Key(keys.ID{Service: "svm1owner/web", Scope: "service", Name: "app/x"}); vm.CodeOf(err) != vm.CodePermission {
		t.Errorf("a key that was not asked for: %v", err)
	}
	must(t, s.Advance(t.Context(), 6))
	must(t, s.Advance(t.Context(), 6))
	if err := s.Advance(t.Context(), 9); vm.CodeOf(err) != vm.CodeInvalid {
		t.Errorf("skipped generation: %v", err)
	}
}

// onPartials lies in the answer with partial keys.
func onPartials(f func(wire.Partials) any) func(string, any) (any, error) {
	return func(path string, answer any) (any, error) {
		if path == wire.PathPartials {
			return f(answer.(wire.Partials)), nil
		}
		return answer, nil
	}
}

// first makes a node answer before the others, so that it is listened to.
func (m *manager) first(n *server) {
	for _, other := range m.nodes {
		if other != n {
			m.late[other] = 50 * time.Millisecond
		}
	}
}

// TestK3_LyingNodeIsFoundAndNamed: whatever one node of three says, the machine
// has its key, and the log says which node lied.
func TestK3_LyingNodeIsFoundAndNamed(t *testing.T) {
	for _, tt := range []struct {
		name string
		lie  func(*server) func(string, any) (any, error)
	}{
		{"forged share", func(n *server) func(string, any) (any, error) {
			_, others, err := keys.Split(rand.Reader, 2, 3)
			must(t, err)
			return onPartials(func(p wire.Partials) any { return n.seal(n.grants[p.Grant], 2, others[1], n.ids()) })
		}},
		{"swapped keys", func(n *server) func(string, any) (any, error) {
			return onPartials(func(p wire.Partials) any {
				ids := n.ids()
				mixed := n.seal(n.grants[p.Grant], 2, n.share, []keys.ID{ids[1], ids[0]})
				return mixed // sealed for the other order
			})
		}},
		{"right envelope, swapped points", func(n *server) func(string, any) (any, error) {
			return onPartials(func(p wire.Partials) any {
				g, ids := n.grants[p.Grant], n.ids()
				a, err := n.share.Partial(ids[1])
				must(t, err)
				b, err := n.share.Partial(ids[0])
				must(t, err)
				sealed, err := keys.Seal(g.HPKEKey, g.Ledger().PartialInfo(g.ID, 2, ids), append(a.Bytes(), b.Bytes()...))
				must(t, err)
				return wire.Partials{Grant: g.ID, Node: 2, Ledger: g.Ledger(), Sealed: sealed}
			})
		}},
		{"another node's index", func(n *server) func(string, any) (any, error) {
			return onPartials(func(p wire.Partials) any { return n.seal(n.grants[p.Grant], 3, n.share, n.ids()) })
		}},
		{"index that does not exist", func(n *server) func(string, any) (any, error) {
			return onPartials(func(p wire.Partials) any { return n.seal(n.grants[p.Grant], 0, n.share, n.ids()) })
		}},
		{"stale: another grant's answer", func(n *server) func(string, any) (any, error) {
			return onPartials(func(p wire.Partials) any {
				old := n.grants[p.Grant]
				old.ID = vm.Hash{1}
				stale := n.seal(old, 2, n.share, n.ids())
				stale.Grant = p.Grant
				return stale
			})
		}},
		{"D4_another generation", func(n *server) func(string, any) (any, error) {
			return onPartials(func(p wire.Partials) any {
				g := n.grants[p.Grant]
				g.Generation = 0
				old := n.seal(g, 2, n.share, n.ids())
				old.Ledger = p.Ledger // that it sealed to another one shows
				return old
			})
		}},
		{"one point too few", func(n *server) func(string, any) (any, error) {
			return onPartials(func(p wire.Partials) any {
				g, ids := n.grants[p.Grant], n.ids()
				sealed, err := keys.Seal(g.HPKEKey, g.Ledger().PartialInfo(g.ID, 2, ids), make([]byte, keys.PointSize))
				must(t, err)
				return wire.Partials{Grant: g.ID, Node: 2, Ledger: g.Ledger(), Sealed: sealed}
			})
		}},
		{"bytes that are no points", func(n *server) func(string, any) (any, error) {
			return onPartials(func(p wire.Partials) any {
				g, ids := n.grants[p.Grant], n.ids()
				sealed, err := keys.Seal(g.HPKEKey, g.Ledger().PartialInfo(g.ID, 2, ids), make([]byte, 2*keys.PointSize))
				must(t, err)
				return wire.Partials{Grant: g.ID, Node: 2, Ledger: g.Ledger(), Sealed: sealed}
			})
		}},
		{"answers for another grant", func(*server) func(string, any) (any, error) {
			return onPartials(func(p wire.Partials) any { p.Grant = vm.Hash{9}; return p })
		}},
		{"empty envelope", func(*server) func(string, any) (any, error) {
			return onPartials(func(p wire.Partials) any { p.Sealed = nil; return p })
		}},
		{"not JSON of the shape", func(*server) func(string, any) (any, error) {
			return onPartials(func(wire.Partials) any { return []int{1, 2} })
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newManager(t)
			liar := m.nodes[1]
			liar.lie = tt.lie(liar)
			m.first(liar)
			s, err := m.ask()
			must(t, err)
			m.check(s)
			if suspects := s.Suspects(); len(suspects) != 1 || !strings.Contains(suspects[0], liar.url) {
				t.Errorf("suspects are %q, want %s alone", suspects, liar.url)
			}
		})
	}
}

// TestK3_TooManyLiarsAreNamed: with two of three lying there is no key, and the
// error names both.
func TestK3_TooManyLiarsAreNamed(t *testing.T) {
	m := newManager(t)
	for _, n := range m.nodes[1:] {
		_, others, err := keys.Split(rand.Reader, 2, 3)
		must(t, err)
		n.lie = onPartials(func(p wire.Partials) any {
			return n.seal(n.grants[p.Grant], n.share.Index, others[0], n.ids())
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := m.client().Release(ctx, echo{}, m.request())
	if vm.CodeOf(err) != vm.CodeSignature {
		t.Fatalf("error is %v, want %s", err, vm.CodeSignature)
	}
	for _, n := range m.nodes[1:] {
		if !strings.Contains(err.Error(), n.url) {
			t.Errorf("error %q does not name %s", err, n.url)
		}
	}
	if strings.Contains(err.Error(), m.nodes[0].url) {
		t.Errorf("error %q names the honest node", err)
	}
}

// TestK3_LiesAboutTheChain: statuses and grants that are not true.
func TestK3_LiesAboutTheChain(t *testing.T) {
	for _, tt := range []struct {
		name    string
		suspect string // part of the reason; empty where the lie goes unnoticed because it does nothing
		lie     func(m *manager, path string, answer any) (any, error)
	}{
		{"another group key", "group key", func(m *manager, path string, answer any) (any, error) {
			if s, ok := answer.(wire.Status); ok {
				s.GroupKey, s.Commitments = m.commitments[1], keys.Commitments{m.commitments[1]}
				return s, nil
			}
			return answer, nil
		}},
		{"another chain", "chain", func(_ *manager, _ string, answer any) (any, error) {
			if s, ok := answer.(wire.Status); ok {
				s.ChainID = "other"
				return s, nil
			}
			return answer, nil
		}},
		{"made-up commitments", "", func(m *manager, _ string, answer any) (any, error) {
			if s, ok := answer.(wire.Status); ok {
				s.Commitments = keys.Commitments{m.commitments[0], m.commitments[0]}
				return s, nil
			}
			return answer, nil
		}},
		{"a threshold of one", "", func(m *manager, _ string, answer any) (any, error) {
			if s, ok := answer.(wire.Status); ok {
				s.Commitments = m.commitments[:1]
				return s, nil
			}
			return answer, nil
		}},
		{"a block of the future", "", func(_ *manager, _ string, answer any) (any, error) {
			if s, ok := answer.(wire.Status); ok {
				s.Height, s.BlockHash = 1_000_000, vm.Hash{6}
				return s, nil
			}
			return answer, nil
		}},
		{"refuses the release", "", func(_ *manager, path string, answer any) (any, error) {
			if path == wire.PathRelease {
				return nil, vm.Refuse(vm.CodeImage, "I do not like it")
			}
			return answer, nil
		}},
		{"grants somebody else's release", "grant", func(_ *manager, path string, answer any) (any, error) {
			if g, ok := answer.(wire.Grant); ok {
				g.ID = vm.Hash{4}
				return g, nil
			}
			return answer, nil
		}},
		{"silent", "", func(*manager, string, any) (any, error) {
			return nil, vm.Refuse(vm.CodeUnavailable, "down")
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newManager(t)
			liar := m.nodes[0] // the first that is asked
			liar.lie = func(path string, answer any) (any, error) { return tt.lie(m, path, answer) }
			m.first(liar)
			s, err := m.ask()
			must(t, err)
			m.check(s)
			named := slices.ContainsFunc(s.Suspects(), func(x string) bool {
				return strings.Contains(x, liar.url) && strings.Contains(x, tt.suspect)
			})
			if tt.suspect != "" && !named {
				t.Errorf("suspects are %q, want %s because of its %s", s.Suspects(), liar.url, tt.suspect)
			}
		})
	}
}

// TestK9_NodeIsDown: a node that does not answer at all changes nothing.
func TestK9_NodeIsDown(t *testing.T) {
	m := newManager(t)
	m.nodes[0].url = "http://127.0.0.1:1"
	s, err := m.ask()
	must(t, err)
	m.check(s)
	must(t, s.Advance(t.Context(), 6))
}

// TestD4_PretendedAdvance: a node that only says that it passed the generation
// on is not enough.
func TestD4_PretendedAdvance(t *testing.T) {
	m := newManager(t)
	s, err := m.ask()
	must(t, err)
	before := m.generation
	m.nodes[0].pretends = true
	must(t, s.Advance(t.Context(), before+1))
	if m.generation != before+1 {
		t.Errorf("the chain knows generation %d, want %d", m.generation, before+1)
	}
}

// TestAdvanceWaits: with too few nodes to confirm, the error says that nothing
// was decided.
func TestAdvanceWaits(t *testing.T) {
	m := newManagerOf(t, 3, 4)
	s, err := m.ask()
	must(t, err)
	for _, n := range m.nodes[2:] {
		n.setLie(down)
	}
	var outage *Outage
	if err := s.Advance(t.Context(), 6); !errors.As(err, &outage) || outage.Text() != "2 of 4 nodes answer, 3 needed" {
		t.Errorf("error is %v", err)
	}
	m.nodes[2].setLie(nil)
	must(t, s.Advance(t.Context(), 6))
}

// TestLostAnswer: the grant was made, but the answer did not arrive.
func TestLostAnswer(t *testing.T) {
	m := newManager(t)
	for _, n := range m.nodes {
		n.lie = func(path string, answer any) (any, error) {
			if path == wire.PathRelease {
				return nil, vm.Refuse(vm.CodeUnavailable, "timed out")
			}
			return answer, nil
		}
	}
	s, err := m.ask()
	must(t, err)
	m.check(s)
}

func TestNew(t *testing.T) {
	m := newManager(t)
	for name, tt := range map[string]struct {
		endpoints []string
		kms       vm.KMS
	}{
		"no endpoints": {nil, m.kms()}, "too many": {manyEndpoints(MaxEndpoints + 1), m.kms()},
		"no group key": {[]string{"http://a"}, vm.KMS{ChainID: chainID}},
		"infinity":     {[]string{"http://a"}, vm.KMS{ChainID: chainID, GroupKey: "c0" + strings.Repeat("00", 95)}},
	} {
		if _, err := New(tt.endpoints, tt.kms); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func manyEndpoints(n int) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprintf("http://127.0.0.1:%d", i+1))
	}
	return out
}

func TestUnreachable(t *testing.T) {
	m := newManager(t)
	c, err := New([]string{"http://127.0.0.1:1"}, m.kms())
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := c.Release(ctx, echo{}, m.request()); vm.CodeOf(err) != vm.CodeUnavailable {
		t.Errorf("error is %v, want %s", err, vm.CodeUnavailable)
	}
}

// TestVoice: what is kept of a session speaks for the disk as the session does, and
// waits where it is told to; anything else is no voice.
func TestVoice(t *testing.T) {
	m := newManager(t)
	s, err := m.ask()
	must(t, err)
	voice, err := s.Voice()
	must(t, err)
	s.Close()
	c := m.client()
	for _, generation := range []uint64{6, 6, 7} {
		must(t, c.Advance(t.Context(), voice, generation, false))
	}
	if m.generation != 7 {
		t.Errorf("the chain knows generation %d, want 7", m.generation)
	}
	if err := c.Advance(t.Context(), voice, 9, true); vm.CodeOf(err) != vm.CodeInvalid {
		t.Errorf("two ahead: %v", err)
	}
	for _, n := range m.nodes[1:] {
		n.setLie(func(string, any) (any, error) { return nil, vm.Refuse(vm.CodeUnavailable, "later") })
	}
	var outage *Outage
	if err := c.Advance(t.Context(), voice, 8, false); !errors.As(err, &outage) || outage.Needed != 2 {
		t.Errorf("one of three nodes confirms: %v", err)
	}
	c.Waiting = func(Wait) {
		for _, n := range m.nodes[1:] {
			n.setLie(nil)
		}
	}
	must(t, c.Advance(t.Context(), voice, 8, true))
	for _, bad := range []string{"", "{}", `{"seed":"AAAA"}`, "x"} {
		if err := c.Advance(t.Context(), []byte(bad), 9, true); vm.CodeOf(err) != vm.CodeInternal {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
