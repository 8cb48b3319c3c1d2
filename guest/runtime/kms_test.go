package runtime

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/secretvm/secretvm/guest/keys"
	"github.com/secretvm/secretvm/vm"
)

// TestGranted: what the process that asked the key manager brings is checked, and
// the keys of the disk are gone when they were used.
func TestGranted(t *testing.T) {
	disk := bytes.Repeat([]byte{7}, 32)
	g := newGranted(&keys.Released{
		Disk: []keys.Secret{disk, bytes.Repeat([]byte{8}, 32)}, Environ: keys.Secret(`{"A":"b"}`), Registry: keys.Secret(`{}`),
		Named: []keys.Named{{Name: "key/wallet", Epoch: 3, Key: keys.Secret("wallet")}},
	}, nil)
	opened, err := g.DiskKeys()
	if err != nil || len(opened) != 2 || opened[0][31] != 7 || opened[1][0] != 8 || disk[0] != 0 {
		t.Errorf("%d keys, %v", len(opened), err)
	}
	if _, err := g.DiskKeys(); vm.CodeOf(err) != vm.CodeInternal || err == nil {
		t.Errorf("keys that were used: %v", err)
	}
	for range 2 { // the workload may have to be brought up again
		if env, err := g.Environment(); err != nil || env["A"] != "b" {
			t.Errorf("environment: %v", err)
		}
		auths := g.Registry()
		if string([]byte(auths)) != "{}" {
			t.Errorf("registry: %d bytes", len(auths))
		}
		clear(auths)
	}
	if named := g.Named; len(named) != 1 || named[0].Name != "key/wallet" || named[0].Epoch != 3 || string(named[0].Key) != "wallet" {
		t.Errorf("for containers: %v", named)
	}
	if err := g.Advance(t.Context(), 1, true); err == nil {
		t.Error("a key manager without generations hears of one")
	}
	short := newGranted(&keys.Released{Disk: []keys.Secret{bytes.Repeat([]byte{7}, 32), []byte("short")}}, nil)
	if _, err := short.DiskKeys(); err == nil || !strings.Contains(err.Error(), "5 bytes, want 32") {
		t.Errorf("a short key: %v", err)
	}
}

// TestT1_MomentsOfAnotherProcess: the moments between which a block was are this
// machine's own, in their order and not in the future, whatever a process says.
func TestT1_MomentsOfAnotherProcess(t *testing.T) {
	block := time.Now()
	for _, tt := range []struct{ offered, heard, wantOffered, wantHeard time.Duration }{
		{3 * time.Second, time.Second, 3 * time.Second, time.Second},
		{-time.Hour, -time.Hour, 0, 0},
		{0, time.Minute, time.Minute, time.Minute},
	} {
		got, offered, heard := newGranted(&keys.Released{Block: block, Offered: tt.offered, Heard: tt.heard}, nil).Decided()
		if o, h := time.Since(offered)-tt.wantOffered, time.Since(heard)-tt.wantHeard; got != block || o < 0 || o > time.Second || h < 0 || h > time.Second {
			t.Errorf("offered %v and heard %v ago: %v, %v too much", tt.offered, tt.heard, o, h)
		}
	}
}
