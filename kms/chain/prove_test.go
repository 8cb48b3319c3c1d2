package chain_test

import (
	"bytes"
	"testing"

	"github.com/cosmos/gogoproto/proto"

	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/vm"
)

// TestProofs: entries are proven against the app hash of their height, and so is
// that there is none; nothing else is.
func TestProofs(t *testing.T) {
	w, cfg := eventful(t)
	grant := w.granted(w.release(boot(t, root, cfg)))
	before := w.app.LastCommitID().Hash // of w.height, in the header of the next block
	height := w.height
	w.block()
	ctx := t.Context()
	for _, tt := range []struct {
		name string
		key  []byte
		into proto.Message
	}{
		{"service", types.ServiceKey(cfg.Service), &types.Service{}},
		{"image", types.ImageKey(cfg.Service, 1), &types.Image{}},
		{"grant", types.GrantKey(grant.Id), &types.Grant{}},
		{"instance", types.InstanceKey(cfg.Service, uid), &types.Instance{}},
		{"sealed", types.SealedKey(cfg.Service, "env"), &types.SealedSlot{}},
		{"refusal", types.RefusalKey(cfg.Service, 0), &types.Refusal{}},
		{"change", types.ChangeKey(cfg.Service, 1), &types.Change{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e, err := w.app.Prove(ctx, "kms", tt.key, height)
			must(t, err)
			if e.Height != height || len(e.Value) == 0 {
				t.Fatalf("entry is %+v", e)
			}
			must(t, proto.Unmarshal(e.Value, tt.into))
			must(t, e.Verify(before))

			spoilt := e
			spoilt.Value = append(bytes.Clone(e.Value), 0)
			if vm.CodeOf(spoilt.Verify(before)) != vm.CodeSignature {
				t.Error("another value was proven")
			}
			spoilt = e
			spoilt.Value = nil
			if vm.CodeOf(spoilt.Verify(before)) != vm.CodeSignature {
				t.Error("absence of an entry that is there was proven")
			}
			spoilt = e
			spoilt.Key = types.ServiceKey("svm1x/other")
			if vm.CodeOf(spoilt.Verify(before)) != vm.CodeSignature {
				t.Error("another key was proven")
			}
			spoilt = e
			spoilt.Store = "committee"
			if vm.CodeOf(spoilt.Verify(before)) != vm.CodeSignature {
				t.Error("another store was proven")
			}
			other := bytes.Clone(before)
			other[0] ^= 1
			if vm.CodeOf(e.Verify(other)) != vm.CodeSignature {
				t.Error("another app hash was accepted")
			}
		})
	}
	absent, err := w.app.Prove(ctx, "kms", types.ServiceKey(cfg.Service+"x"), height)
	must(t, err)
	if len(absent.Value) != 0 {
		t.Fatalf("there is a value %x", absent.Value)
	}
	must(t, absent.Verify(before))
	absent.Key = types.ServiceKey(cfg.Service)
	if absent.Verify(before) == nil {
		t.Error("absence of a service that is there was proven")
	}
	for _, tt := range []struct {
		store  string
		key    []byte
		height int64
		want   vm.Code
	}{{"nothing", []byte{1}, height, vm.CodeInvalid}, {"kms", nil, height, vm.CodeInvalid}, {"kms", []byte{1}, w.height + 1, vm.CodeUnavailable}, {"kms", []byte{1}, 1, vm.CodeUnavailable}} {
		if _, err := w.app.Prove(ctx, tt.store, tt.key, tt.height); vm.CodeOf(err) != tt.want {
			t.Errorf("%s %x at %d: %v, want %s", tt.store, tt.key, tt.height, err, tt.want)
		}
	}
}
