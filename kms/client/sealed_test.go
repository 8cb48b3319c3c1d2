package client

import (
	"bytes"
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/kms/wire"
	"github.com/secretvm/secretvm/vm"
)

// seals encrypts to a key of the service with the group key alone.
func (m *manager) seals(name, plain string) *wire.Sealed {
	m.t.Helper()
	id := envKey(m.request().Config.Service)
	id.Name = name
	c, err := keys.Encrypt(rand.Reader, m.commitments.GroupKey(), id, []byte(plain), nil)
	must(m.t, err)
	return &wire.Sealed{Ciphertext: c}
}

func TestEnv(t *testing.T) {
	m := newManagerOf(t, 3, 4)
	s, err := m.ask()
	must(t, err)
	if env, err := s.Env(); err != nil || env != nil {
		t.Errorf("where nothing is sealed: %q, %v", env, err)
	}
	if _, err := s.Key(envKey(s.Grant().Service)); err == nil {
		t.Error("a key was made that opens nothing")
	}
	m.env = m.seals("env", "PASSWORD=swordfish")
	s, err = m.ask()
	must(t, err)
	if env, err := s.Env(); err != nil || string(env) != "PASSWORD=swordfish" {
		t.Errorf("environment is %q, %v", env, err)
	}
	m.check(s)
	m.env = m.seals("registry", "of another name")
	s, err = m.ask()
	must(t, err)
	if env, err := s.Env(); vm.CodeOf(err) != vm.CodeInvalid || !strings.Contains(err.Error(), "cannot be decrypted") {
		t.Errorf("sealed to another key: %q, %v", env, err)
	}
}

// TestK3_EnvironmentIsTheOwners: anybody can encrypt to a service. What a node
// puts in the place of the owner's environment, or leaves out, or brings back
// from before, does not count.
func TestK3_EnvironmentIsTheOwners(t *testing.T) {
	for name, change := range map[string]func(m *manager, g *wire.Grant){
		"replaced":    func(m *manager, g *wire.Grant) { g.Env = m.seals("env", "PASSWORD=known") },
		"left out":    func(_ *manager, g *wire.Grant) { g.Env = nil },
		"other epoch": func(_ *manager, g *wire.Grant) { g.Env = &wire.Sealed{Epoch: 7, Ciphertext: g.Env.Ciphertext} },
		"added":       func(m *manager, g *wire.Grant) { g.Registry = m.seals("registry", "{}") },
		"D4_rolled back": func(_ *manager, g *wire.Grant) {
			g.Generation = 0
		},
		"another time": func(_ *manager, g *wire.Grant) { g.Time = g.Time.Add(-24 * time.Hour) },
	} {
		t.Run(name, func(t *testing.T) {
			m := newManagerOf(t, 3, 4)
			m.env = m.seals("env", "PASSWORD=swordfish")
			liar := m.nodes[0]
			m.first(liar)
			liar.lie = func(_ string, answer any) (any, error) {
				switch a := answer.(type) {
				case wire.Grant:
					change(m, &a)
					return a, nil
				case wire.Partials: // it vouches for its lie, too
					g := m.grants[a.Grant]
					change(m, &g)
					return liar.seal(g, liar.share.Index, liar.share, []keys.ID{m.ids()[0], m.ids()[1], envKey(g.Service)}), nil
				}
				return answer, nil
			}
			s, err := m.ask()
			must(t, err)
			m.check(s)
			env, err := s.Env()
			if err != nil || !bytes.Equal(env, []byte("PASSWORD=swordfish")) {
				t.Errorf("environment is %q, %v", env, err)
			}
			if r, err := s.Registry(); r != nil || err != nil || s.Grant().Generation != 5 {
				t.Errorf("registry is %q, %v, generation %d", r, err, s.Grant().Generation)
			}
			if block, _, _ := s.Decided(); !block.Equal(blockTime) {
				t.Errorf("time is %s, want %s", block, blockTime)
			}
		})
	}
}

// TestEpochs: what was sealed under an earlier epoch is opened with that epoch's
// key, if the measured config names it, and with no other.
func TestEpochs(t *testing.T) {
	m := newManagerOf(t, 2, 3)
	kms := m.kms()
	kms.Epoch, kms.Previous = 3, []vm.EpochKey{{Epoch: 1, GroupKey: m.commitments.GroupKey().String()}}
	c, err := New([]string{"http://a"}, kms)
	must(t, err)
	for epoch, want := range map[uint64]bool{0: false, 1: true, 2: false, 3: true} {
		if _, err := c.groupOf(epoch); (err == nil) != want {
			t.Errorf("epoch %d: %v", epoch, err)
		}
	}
}
