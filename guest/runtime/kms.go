package runtime

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/secretvm/secretvm/disk/luks"
	"github.com/secretvm/secretvm/guest/keys"
	"github.com/secretvm/secretvm/vm"
)

// granted is the session of what the key manager released.
type granted struct {
	*keys.Released
	asker          *keys.Asker
	offered, heard time.Time
}

func newGranted(r *keys.Released, asker *keys.Asker) granted {
	now := time.Now()
	return granted{r, asker, now.Add(-max(r.Offered, r.Heard, 0)), now.Add(-max(r.Heard, 0))}
}

// Decided implements session.
func (g granted) Decided() (block, offered, heard time.Time) { return g.Block, g.offered, g.heard }

// Generation implements session.
func (g granted) Generation() uint64 { return g.Released.Generation }

// DiskKeys implements session, once.
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

// Environment implements session.
func (g granted) Environment() (vm.Environment, error) {
	if g.Environ == nil {
		return nil, nil
	}
	return vm.ParseEnvironment(g.Environ)
}

// Registry implements session.
func (g granted) Registry() ([]byte, error) { return slices.Clone(g.Released.Registry), nil }

// Advance implements session.
func (g granted) Advance(ctx context.Context, n uint64, wait bool) error {
	if g.Voice == nil {
		return errors.New("the key manager counts no generations")
	}
	return g.asker.Advance(ctx, keys.Advance{Voice: g.Voice, Generation: n, Wait: wait})
}

// ForContainers implements session.
func (g granted) ForContainers() []keys.Named { return g.Named }

func wipe(keys []luks.Key) {
	for i := range keys {
		clear(keys[i][:])
	}
}
