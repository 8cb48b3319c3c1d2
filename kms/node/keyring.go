package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/kms/chain/x/committee/types"
)

// sharing names one sharing of an epoch's secret.
type sharing struct{ epoch, round uint64 }

// held is a share with what its partials are checked against.
type held struct {
	share       keys.Share
	commitments keys.Commitments
}

// keyring holds this node's shares, by sharing: the present one, and for a while
// the one before, so that a machine that is half through is served to its end.
type keyring struct {
	home Home

	mu     sync.RWMutex
	shares map[sharing]held
}

func newKeyring(home Home) *keyring { return &keyring{home: home, shares: make(map[sharing]held)} }

// of returns the share of a group, or of an earlier sharing of the same epoch if
// the group is so new that this node has not yet taken its share.
func (k *keyring) of(g types.Group) (held, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if h, ok := k.shares[sharing{g.Epoch, g.Round}]; ok {
		return h, nil
	}
	var newest uint64
	found := false
	for at := range k.shares {
		if at.epoch == g.Epoch && at.round < g.Round && (!found || at.round > newest) {
			newest, found = at.round, true
		}
	}
	if !found {
		return held{}, fmt.Errorf("this node has no share of the key of epoch %d", g.Epoch)
	}
	return k.shares[sharing{g.Epoch, newest}], nil
}

// has reports whether the share of exactly this sharing is there.
func (k *keyring) has(g types.Group) bool {
	k.mu.RLock()
	defer k.mu.RUnlock()
	_, ok := k.shares[sharing{g.Epoch, g.Round}]
	return ok
}

// exact returns the share of exactly this sharing.
func (k *keyring) exact(g types.Group) (keys.Share, bool) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	h, ok := k.shares[sharing{g.Epoch, g.Round}]
	return h.share, ok
}

// load takes a share from its file. The error is os.ErrNotExist when there is
// none.
func (k *keyring) load(g types.Group) error {
	s, err := k.home.readShare(g)
	if err != nil {
		return err
	}
	return k.hold(g, s)
}

// store writes a share to its file and holds it.
func (k *keyring) store(g types.Group, s keys.Share) error {
	if err := k.home.writeShare(s, g); err != nil {
		return err
	}
	return k.hold(g, s)
}

func (k *keyring) hold(g types.Group, s keys.Share) error {
	c, err := g.Parse()
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.shares[sharing{g.Epoch, g.Round}] = held{s, c}
	return nil
}

// wipe destroys all shares that keep does not want, in memory and in files.
func (k *keyring) wipe(keep func(sharing) bool) error {
	k.mu.Lock()
	for at, h := range k.shares {
		if !keep(at) {
			h.share.Wipe()
			delete(k.shares, at)
		}
	}
	k.mu.Unlock()
	files, err := filepath.Glob(filepath.Join(k.home.shares(), "*.json"))
	if err != nil {
		return fmt.Errorf("list the shares: %w", err)
	}
	for _, path := range files {
		var at sharing
		if _, scanErr := fmt.Sscanf(filepath.Base(path), "%d-%d.json", &at.epoch, &at.round); scanErr == nil && !keep(at) {
			err = errors.Join(err, wipeFile(path))
		}
	}
	return err
}

// wipeFile overwrites a file before it removes it. What the disk below keeps of
// it is the disk's matter: a node's disk is encrypted.
func wipeFile(path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("wipe: %w", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("wipe: %w", err)
	}
	_, err = f.WriteAt(make([]byte, info.Size()), 0)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("wipe %s: %w", path, err)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("wipe: %w", err)
	}
	return nil
}
