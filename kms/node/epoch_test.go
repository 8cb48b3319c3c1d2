package node

import (
	"errors"
	"net/http"
	"testing"

	"github.com/secretvm/secretvm/keys"
	committee "github.com/secretvm/secretvm/kms/chain/x/committee/types"
	"github.com/secretvm/secretvm/kms/client"
	"github.com/secretvm/secretvm/kms/wire"
	"github.com/secretvm/secretvm/vm"
)

// TestMachineMovesToAnotherEpoch: a machine whose config names two epochs gets the
// keys of both, the older one as it was, so that its disk can change its lock.
// Once the first epoch is closed it is told so in a form that it acts on, and the
// newer key goes on.
func TestMachineMovesToAnotherEpoch(t *testing.T) {
	s := newStation(t)
	cfg := s.service(t)
	_, first := s.disk(t, cfg)

	must(t, s.send(t, &committee.MsgOpenEpoch{Authority: s.made.Owner}))
	(&cast{nodes: []*station{s}}).await(t, "epoch", func(_ []committee.Node, groups []committee.Group) bool {
		return len(groups) == 2
	})
	var status wire.Status
	must(t, wire.Call(t.Context(), http.DefaultClient, http.MethodGet, s.url, wire.PathStatusOf(1), nil, &status))
	moved := cfg
	moved.KMS.Epoch, moved.KMS.GroupKey = 1, status.GroupKey.String()
	moved.KMS.Previous = []vm.EpochKey{{Epoch: 0, GroupKey: cfg.KMS.GroupKey}}
	s.image(t, moved)

	disk := keys.Disk(cfg.Service, cfg.InstanceID)
	release := func(ids ...keys.ID) (*client.Session, error) {
		c, err := client.New([]string{s.url}, moved.KMS)
		must(t, err)
		q, request := s.boot(t, moved)
		request.Keys = ids
		return c.Release(t.Context(), q, request)
	}
	session, err := release(disk.In(1), disk)
	must(t, err)
	old, err := session.Key(disk)
	must(t, err)
	newer, err := session.Key(disk.In(1))
	must(t, err)
	if old != first || newer == first {
		t.Errorf("the old key is what it was: %t; the new one is another: %t", old == first, newer != first)
	}

	must(t, s.send(t, &committee.MsgCloseEpoch{Authority: s.made.Owner, Epoch: 0}))
	_, err = release(disk.In(1), disk)
	var r *vm.Refusal
	if !errors.As(err, &r) || r.Code != vm.CodeInvalid || r.Field != "epoch" || r.Found != "0" {
		t.Errorf("a key of a closed epoch: %v", err)
	}
	session, err = release(disk.In(1))
	must(t, err)
	if again, err := session.Key(disk.In(1)); err != nil || again != newer {
		t.Errorf("the newer key did not stay: %v", err)
	}
}
