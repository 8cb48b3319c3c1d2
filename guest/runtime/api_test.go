package runtime

import (
	"strings"
	"testing"

	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/vm"
)

// TestKeysAreAskedForAsGranted: the release names what the measured config grants
// to containers, of the machine's epoch and the one before, and nothing else.
func TestKeysAreAskedForAsGranted(t *testing.T) {
	cfg := vm.Config{Service: "svm1owner/web", InstanceID: strings.Repeat("ab", 16), API: vm.API{
		"db": {"instance-key/disk/a", "instance-key/disk/b"}, "web": {"key/wallet/alice", "quote", "sign/ed25519"},
	}}
	asked := map[keys.ID]bool{}
	for _, id := range wanted(cfg, []uint64{2, 1, 0}) {
		if err := id.Validate(); err != nil {
			t.Error(err)
		}
		if asked[id] {
			t.Errorf("%s is asked for twice", id)
		}
		asked[id] = true
	}
	for _, epoch := range []uint64{2, 1} {
		for _, id := range []keys.ID{
			{Scope: keys.InstanceScope(cfg.InstanceID), Name: "app/disk"}, {Scope: keys.ScopeService, Name: "app/wallet"}, {Scope: keys.ScopeService, Name: "sign/ed25519"},
		} {
			id.Service, id.Epoch = cfg.Service, epoch
			if !asked[id] {
				t.Errorf("%s is not asked for", id)
			}
			delete(asked, id)
		}
	}
	for id := range asked {
		if id.Name != "disk" && id.Name != "env" && id.Name != "registry" {
			t.Errorf("%s is asked for", id)
		}
	}
}
