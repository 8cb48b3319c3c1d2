package node

import (
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/kms/wire"
	"github.com/secretvm/secretvm/vm"
)

// TestWipe: a home gives its secrets up only when the chain does not count on
// them any more, and all of them.
func TestWipe(t *testing.T) {
	home := Home(filepath.Join(t.TempDir(), "node"))
	_, err := Init(home, InitOptions{ChainID: "wiped-1"})
	if err != nil {
		t.Fatal(err)
	}
	_, state, err := home.readGenesis()
	if err != nil {
		t.Fatal(err)
	}
	share, err := home.readShare(state.Committee.Groups[0])
	if err != nil {
		t.Fatal(err)
	}
	commitments, _, err := keys.Split(rand.Reader, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	second := wire.Node{Index: 2, PublicKey: commitments.GroupKey()}
	remaining := wire.Status{ChainID: "wiped-1", Nodes: []wire.Node{second}}
	secrets := []string{home.share(0, 0), home.sealing(), home.relay(), filepath.Join(string(home), "config", "priv_validator_key.json"), filepath.Join(string(home), "config", "node_key.json")}
	there := func() (n int) {
		for _, path := range secrets {
			if _, err := os.Stat(path); err == nil {
				n++
			}
		}
		return n
	}
	if n := there(); n != len(secrets) {
		t.Fatalf("%d of %d secrets are there", n, len(secrets))
	}
	for name, answer := range map[string]func(uint64) (wire.Status, error){
		"still a holder": func(uint64) (wire.Status, error) {
			s := remaining
			s.Nodes = []wire.Node{second, {Index: 1, PublicKey: share.Public()}}
			return s, nil
		},
		"another chain": func(uint64) (wire.Status, error) { s := remaining; s.ChainID = "other"; return s, nil },
		"no answer":     func(uint64) (wire.Status, error) { return wire.Status{}, vm.Refuse(vm.CodeUnavailable, "away") },
		"nonsense":      func(uint64) (wire.Status, error) { return wire.Status{}, errors.New("?") },
	} {
		if gone, err := home.Wipe(answer); err == nil || len(gone) != 0 || there() != len(secrets) {
			t.Errorf("%s: destroyed %v, %v", name, gone, err)
		}
	}
	gone, err := home.Wipe(func(uint64) (wire.Status, error) { return remaining, nil })
	if err != nil || len(gone) != len(secrets) || there() != 0 {
		t.Errorf("destroyed %v, %v; %d are left", gone, err, there())
	}
	if _, err := home.Owner(); err != nil {
		t.Errorf("the owner's account is gone: %v", err)
	}
}
