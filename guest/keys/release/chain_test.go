package release

import (
	"errors"
	"fmt"
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

// TestClosedEpochsAreLeftOut: of what the chain refuses, only an earlier epoch that
// it closed is given up.
func TestClosedEpochsAreLeftOut(t *testing.T) {
	epochs := epochsOf(vm.KMS{Epoch: 7, Previous: []vm.EpochKey{{Epoch: 5}, {Epoch: 2}}})
	closed := func(epoch string) error {
		return fmt.Errorf("request keys: %w", vm.Refuse(vm.CodeInvalid, "a key of an epoch that is not open").On("epoch", epoch, "one of 7"))
	}
	for _, tt := range []struct {
		name string
		err  error
		want string
	}{
		{"an earlier one", closed("5"), "[7 2]"},
		{"the machine's own", closed("7"), "[7 5 2]"},
		{"one that was not asked for", closed("3"), "[7 5 2]"},
		{"another refusal", vm.Refuse(vm.CodePermission, "no").On("epoch", "5", ""), "[7 5 2]"},
		{"no refusal", errors.New("epoch 5"), "[7 5 2]"},
	} {
		if got := fmt.Sprint(withoutClosed(epochs, tt.err)); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}
