package client

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/kms/wire"
	"github.com/secretvm/secretvm/vm"
)

// waits records what a client waits for.
type waits struct {
	mu   sync.Mutex
	list []Wait
}

func (w *waits) add(x Wait) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.list = append(w.list, x)
}

func (w *waits) texts() (out []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, x := range w.list {
		out = append(out, x.Outage.Text())
	}
	return slices.Compact(out)
}

// down makes a node silent: every answer is that of a proxy whose node is gone.
func down(string, any) (any, error) { return nil, vm.Refuse(vm.CodeUnavailable, "down") }

// TestK9_PausedNode: a node that takes connections and never answers, as one
// that is stopped or behind a black hole, costs less than a second.
func TestK9_PausedNode(t *testing.T) {
	for name, paused := range map[string]time.Duration{"paused": time.Hour, "slow": 3 * time.Second} {
		t.Run(name, func(t *testing.T) {
			m := newManagerOf(t, 3, 4)
			for i := range m.nodes {
				m.mu.Lock()
				clear(m.late)
				m.late[m.nodes[i]] = paused
				m.mu.Unlock()
				start := time.Now()
				s, err := m.ask()
				must(t, err)
				if took := time.Since(start); took > time.Second {
					t.Errorf("with node %d %s it took %v", i+1, name, took)
				}
				m.check(s)
				s.Close()
			}
		})
	}
}

// TestWaitsForNodes: with too few nodes the machine waits, says for what, and
// has its keys as soon as there are enough.
func TestWaitsForNodes(t *testing.T) {
	m := newManagerOf(t, 3, 4)
	for _, n := range m.nodes[2:] {
		n.setLie(down)
	}
	c, told := m.client(), &waits{}
	c.Waiting = func(w Wait) {
		told.add(w)
		if len(told.texts()) == 1 && told.texts()[0] == "2 of 4 nodes answer, 3 needed" {
			m.nodes[2].setLie(nil)
		}
	}
	s, err := c.Release(t.Context(), echo{}, m.request())
	must(t, err)
	m.check(s)
	if got := told.texts(); len(got) != 1 {
		t.Errorf("it waited for %q", got)
	}
	if text := told.list[0].String(); text != "2 of 4 nodes answer, 3 needed; next try in 1s" {
		t.Errorf("it says %q", text)
	}
	if err := errors.Unwrap(told.list[0].Outage); vm.CodeOf(err) != vm.CodeUnavailable {
		t.Errorf("reason is %v", err)
	}
}

// TestWaitsForBlocks: after a restart of the chain nodes answer and have no
// fresh block; a grant of before stays good.
func TestWaitsForBlocks(t *testing.T) {
	m := newManagerOf(t, 3, 4)
	grants := 0
	restarting := func(path string, answer any) (any, error) {
		if path == wire.PathStatus {
			return nil, vm.Refuse(vm.CodeUnavailable, "the chain has no fresh block yet")
		}
		return answer, nil
	}
	for _, n := range m.nodes {
		n.setLie(restarting)
	}
	c, told := m.client(), &waits{}
	c.Waiting = func(w Wait) {
		told.add(w)
		switch len(told.list) {
		case 1: // back, but its nodes have lost their connections while they share their parts
			for _, n := range m.nodes {
				n.setLie(func(path string, answer any) (any, error) {
					if path == wire.PathPartials {
						return nil, vm.Refuse(vm.CodeUnavailable, "connection reset")
					}
					return answer, nil
				})
			}
		case 2:
			m.mu.Lock()
			grants = len(m.grants)
			m.mu.Unlock()
			for _, n := range m.nodes {
				n.setLie(nil)
			}
		}
	}
	s, err := c.Release(t.Context(), echo{}, m.request())
	must(t, err)
	m.check(s)
	if grants != 1 || len(m.grants) != 1 {
		t.Errorf("%d grants, then %d: want the first one used again", grants, len(m.grants))
	}
	if got := told.texts(); !slices.Equal(got, []string{"0 of 4 nodes answer", "0 of 4 nodes answer, 3 needed"}) {
		t.Errorf("it waited for %q", got)
	}
}

// TestResharing: while the secret is shared anew, half of the nodes answer from
// the new sharing and half from the old. Theirs are never mixed, and the key is
// the same as ever.
func TestResharing(t *testing.T) {
	secret := make([]byte, 64)
	_, _ = rand.Read(secret)
	old, oldShares, err := keys.Split(io.MultiReader(strings.NewReader(string(secret)), rand.Reader), 3, 4)
	must(t, err)
	fresh, freshShares, err := keys.Split(io.MultiReader(strings.NewReader(string(secret)), rand.Reader), 3, 4)
	must(t, err)
	if !old.GroupKey().Equal(fresh.GroupKey()) || old[1].Equal(fresh[1]) {
		t.Fatal("the second sharing is not one of the same secret")
	}
	for _, named := range []bool{true, false} { // does an answer name its sharing
		m := newManagerOf(t, 3, 4)
		m.commitments, m.shares = old, oldShares
		use := func(i int, c keys.Commitments, shares []keys.Share) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.nodes[i].share = shares[i]
			if m.nodes[i].announced = c; named {
				m.nodes[i].sharing = c
			}
		}
		for i := range m.nodes {
			if i < 2 {
				use(i, old, oldShares)
			} else {
				use(i, fresh, freshShares)
			}
		}
		c, told := m.client(), &waits{}
		c.Waiting = func(w Wait) { told.add(w) }
		finished := time.AfterFunc(300*time.Millisecond, func() {
			use(0, fresh, freshShares)
			use(1, fresh, freshShares)
		})
		defer finished.Stop()
		s, err := c.Release(t.Context(), echo{}, m.request())
		must(t, err)
		m.check(s)
		if named && len(told.list) != 0 {
			t.Errorf("it waited for %q", told.texts())
		}
		if len(s.Suspects()) != 0 && named {
			t.Errorf("honest nodes are suspected: %q", s.Suspects())
		}
	}
}

// TestDecisionsAreNotAskedAgain, and one node's word is none.
func TestDecisionsAreNotAskedAgain(t *testing.T) {
	for _, tt := range []struct {
		name     string
		no, down int // nodes
		want     vm.Code
	}{
		{"all refuse", 4, 0, vm.CodeImage},
		{"two of four refuse, two are silent", 2, 2, vm.CodeImage},
		{"one of four refuses, three are silent", 1, 3, vm.CodeUnavailable},
		{"one of four refuses, the others grant", 1, 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newManagerOf(t, 3, 4)
			for i, n := range m.nodes {
				switch {
				case i < tt.no:
					n.refuse = vm.Refuse(vm.CodeImage, "registers match no image")
				case i < tt.no+tt.down:
					n.refuse = vm.Refuse(vm.CodeUnavailable, "no block")
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			c, told := m.client(), &waits{}
			c.Waiting = told.add
			s, err := c.Release(ctx, echo{}, m.request())
			if tt.want == "" {
				must(t, err)
				m.check(s)
				return
			}
			if tt.want == vm.CodeUnavailable {
				if !slices.Contains(told.texts(), "4 of 4 nodes answer, but the chain does not decide") {
					t.Errorf("it waited for %q", told.texts())
				}
			} else if vm.CodeOf(err) != tt.want || len(told.list) != 0 {
				t.Errorf("error is %v, want %s; it waited for %q", err, tt.want, told.texts())
			}
		})
	}
}

// TestK8_GarbageIsBounded: whatever one node sends, the machine reads a bounded
// part of it and has its keys from the others.
func TestK8_GarbageIsBounded(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"endless": func(w http.ResponseWriter, _ *http.Request) {
			for {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		},
		"drip": func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				_, _ = w.Write([]byte("["))
				_ = http.NewResponseController(w).Flush()
				time.Sleep(10 * time.Millisecond)
			}
		},
		"deep": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, strings.Repeat(`{"a":`, 50_000))
		},
		"null": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "null") },
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
		},
		"many commitments": func(w http.ResponseWriter, _ *http.Request) {
			point := `"` + strings.Repeat("00", 96) + `",`
			_, _ = io.WriteString(w, `{"commitments":[`+strings.Repeat(point, 1000)+`""]}`)
		},
		"hangs up": func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			m := newManagerOf(t, 3, 4)
			bad := httptest.NewServer(answer)
			t.Cleanup(bad.Close)
			t.Cleanup(bad.CloseClientConnections)
			m.nodes[1].url = bad.URL
			start := time.Now()
			s, err := m.ask()
			must(t, err)
			m.check(s)
			s.Close()
			if took := time.Since(start); took > time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// TestNothingIsLeftRunning: a release, one that is given up, and one that fails,
// leave no goroutine behind.
func TestNothingIsLeftRunning(t *testing.T) {
	m := newManagerOf(t, 3, 4)
	m.late[m.nodes[0]] = time.Hour
	s, err := m.ask()
	must(t, err)
	s.Close()
	m.nodes[1].setLie(down)
	c := m.client()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := c.Release(ctx, echo{}, m.request()); vm.CodeOf(err) != vm.CodeUnavailable || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("given up: %v", err)
	}
	stack := make([]byte, 1<<20)
	for wait := time.Millisecond; wait < 2*time.Second; wait *= 2 {
		stack = stack[:runtime.Stack(stack[:cap(stack)], true)]
		if !strings.Contains(string(stack), "client.(*Session)") && !strings.Contains(string(stack), "client.race") && !strings.Contains(string(stack), "http.(*persistConn)") {
			return
		}
		time.Sleep(wait)
	}
	t.Errorf("something still runs:\n%s", stack)
}

func TestPersist(t *testing.T) {
	away := func() error {
		return &Outage{Answering: 1, Nodes: 4, Needed: 3, Err: vm.Refuse(vm.CodeUnavailable, "refused")}
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		var pauses []time.Duration
		tries := 0
		err := Persist(ctx, func(w Wait) { pauses = append(pauses, w.Next) }, func(context.Context) error { tries++; return away() })
		if !errors.Is(err, context.DeadlineExceeded) || vm.CodeOf(err) != vm.CodeUnavailable || tries != len(pauses) {
			t.Errorf("after %d tries: %v", tries, err)
		}
		want := minPause
		for i, p := range pauses {
			if p < want/2 || p > want {
				t.Errorf("pause %d is %v, want %v to %v", i, p, want/2, want)
			}
			want = min(2*want, maxPause)
		}
		if len(slices.Compact(pauses)) < len(pauses)/2 {
			t.Errorf("pauses are not drawn: %v", pauses)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		for _, err := range []error{vm.Refuse(vm.CodeImage, "no"), errors.New("no quote"), nil} {
			tries := 0
			got := Persist(t.Context(), nil, func(context.Context) error { tries++; return err })
			if !errors.Is(got, err) || tries != 1 {
				t.Errorf("%v: asked %d times, then %v", err, tries, got)
			}
		}
		start, tries := time.Now(), 0
		must(t, Persist(t.Context(), nil, func(context.Context) error {
			if tries++; tries > maxRetakes {
				return nil
			}
			return &Outage{retake: true}
		}))
		if time.Since(start) != 0 {
			t.Error("it pauses although the next try differs")
		}
	})
}

func TestOutageText(t *testing.T) {
	for want, o := range map[string]Outage{
		"0 of 4 nodes answer":                                    {Nodes: 4},
		"1 of 4 nodes answers, 3 needed":                         {Answering: 1, Nodes: 4, Needed: 3, But: "hidden"},
		"1 of 1 nodes answers, 3 needed: the host names too few": {Answering: 1, Nodes: 1, Needed: 3},
		"4 of 4 nodes answer, but the chain does not decide":     {Answering: 4, Nodes: 4, Needed: 3, But: "the chain does not decide"},
	} {
		if got := o.Text(); got != want {
			t.Errorf("text is %q, want %q", got, want)
		}
		if got := fmt.Sprint(Wait{&o, 7600 * time.Millisecond}); got != want+"; next try in 8s" {
			t.Errorf("it says %q", got)
		}
	}
}
