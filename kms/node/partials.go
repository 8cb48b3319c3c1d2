package node

import (
	"slices"
	"time"

	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/kms/wire"
	"github.com/secretvm/secretvm/vm"
)

// partials computes this node's parts of keys that a committed grant names, and
// seals them to the key that the granted quote names.
func (n *Node) partials(q wire.PartialsRequest) (wire.Partials, error) {
	grant, err := n.ledger.grant(q.Grant)
	if err != nil {
		return wire.Partials{}, err
	}
	params, _, err := n.ledger.params()
	if err != nil {
		return wire.Partials{}, err
	}
	if err := mayHave(grant, q.Keys, params, n.now()); err != nil {
		return wire.Partials{}, err
	}
	points := make([]byte, 0, len(q.Keys)*keys.PointSize)
	defer func() { clear(points) }()
	for _, id := range q.Keys {
		p, err := n.share.Partial(id)
		if err != nil {
			return wire.Partials{}, err
		}
		points = append(points, p.Bytes()...)
	}
	ledger := viewGrant(grant).Ledger()
	sealed, err := keys.Seal(grant.HpkeKey, ledger.PartialInfo(q.Grant, n.share.Index, q.Keys), points)
	if err != nil {
		return wire.Partials{}, err
	}
	return wire.Partials{Grant: q.Grant, Node: n.share.Index, Ledger: ledger, Sealed: sealed}, nil
}

// mayHave refuses keys that the grant does not name, that are not its machine's,
// and grants that were made too long ago: keys are fetched at boot.
func mayHave(grant types.Grant, ids []keys.ID, params types.Params, now time.Time) error {
	if len(ids) == 0 || len(ids) > types.MaxKeys {
		return vm.Refuse(vm.CodeMalformed, "asks for %d keys, want 1 to %d", len(ids), types.MaxKeys)
	}
	if age := now.Sub(at(grant.Time)); age > time.Duration(params.GrantLifetimeSeconds)*time.Second {
		return vm.Refuse(vm.CodeExpired, "grant %x was made %s ago", grant.Id, age.Round(time.Second)).Try("ask for a new release")
	}
	granted := grant.IDs()
	for _, id := range ids {
		if uid := id.Instance(); id.Service != grant.Service || (uid != "" && uid != grant.VmUid) || !slices.Contains(granted, id) {
			return vm.Refuse(vm.CodePermission, "grant %x is not for key %s", grant.Id, id)
		}
	}
	return nil
}
