package runtime

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/secretvm/secretvm/disk/luks"
	"github.com/secretvm/secretvm/guest/ipc"
	"github.com/secretvm/secretvm/guest/keys"
	"github.com/secretvm/secretvm/vm"
)

// granted is what the key manager granted to this boot.
type granted struct {
	*keys.Released
	asker          *keys.Asker
	offered, heard time.Time
}

func newGranted(r *keys.Released, asker *keys.Asker) granted {
	now := time.Now()
	return granted{r, asker, now.Add(-max(r.Offered, r.Heard, 0)), now.Add(-max(r.Heard, 0))}
}

// Decided returns the time of the block that granted, and between which moments of
// this machine that was; zero where nobody vouches for a time.
func (g granted) Decided() (block, offered, heard time.Time) { return g.Block, g.offered, g.heard }

// Generation is how often the chain has seen this instance's disk ready.
func (g granted) Generation() uint64 { return g.Released.Generation }

// DiskKeys returns the key of this instance's disk, and those that it may have
// from earlier epochs, newest first; once.
func (g granted) DiskKeys() (out []luks.Key, err error) {
	if len(g.Disk) == 0 {
		return nil, vm.Refuse(vm.CodeInternal, "there is no key of the disk")
	}
	for _, secret := range g.Disk {
		var key luks.Key
		if copy(key[:], secret) != len(key) || len(secret) != len(key) {
			wipe(out)
			return nil, vm.Refuse(vm.CodeInternal, "the disk key has %d bytes, want %d", len(secret), len(key))
		}
		out = append(out, key)
		clear(secret)
	}
	g.Disk = nil
	return out, nil
}

// Environment returns the variables that the owner sealed; nil: none.
func (g granted) Environment() (vm.Environment, error) {
	if g.Environ == nil {
		return nil, nil
	}
	return vm.ParseEnvironment(g.Environ)
}

// Registry returns the auths of a Docker config that the owner sealed; nil: none.
// The caller wipes it.
func (g granted) Registry() ipc.Secret { return slices.Clone(g.Released.Registry) }

// Advance tells the chain that the disk has reached generation n, and waits for
// its decision where that has to be.
func (g granted) Advance(ctx context.Context, n uint64, wait bool) error {
	if g.Voice == nil {
		return errors.New("the key manager counts no generations")
	}
	return g.asker.Advance(ctx, keys.Advance{Voice: g.Voice, Generation: n, Wait: wait})
}

func wipe(keys []luks.Key) {
	for i := range keys {
		clear(keys[i][:])
	}
}
