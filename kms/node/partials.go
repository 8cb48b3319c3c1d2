package node

import (
	"context"
	"fmt"
	"slices"
	"time"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/secretvm/secretvm/keys"
	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/kms/wire"
	"github.com/secretvm/secretvm/vm"
)

// partials computes this node's parts of keys that a committed grant names, and
// seals them to the key that the granted quote names.
func (n *Node) partials(ctx context.Context, q wire.PartialsRequest) (wire.Partials, error) {
	state, grant, err := n.awaitGrant(ctx, q.Grant)
	if err != nil {
		return wire.Partials{}, err
	}
	params, err := n.ledger.KMS.Params(state)
	if err != nil {
		return wire.Partials{}, err
	}
	if err := mayHave(grant, q.Keys, params, n.now()); err != nil {
		return wire.Partials{}, err
	}
	held, err := n.held(state, q.Keys)
	if err != nil {
		return wire.Partials{}, err
	}
	points := make([]byte, 0, len(q.Keys)*keys.PointSize)
	defer func() { clear(points) }()
	for _, id := range q.Keys {
		p, err := held.share.Partial(id)
		if err != nil {
			return wire.Partials{}, err
		}
		points = append(points, p.Bytes()...)
	}
	ledger := vouched(grant)
	sealed, err := keys.Seal(grant.HpkeKey, ledger.PartialInfo(q.Grant, held.share.Index, q.Keys), points)
	if err != nil {
		return wire.Partials{}, err
	}
	return wire.Partials{Grant: q.Grant, Node: held.share.Index, Ledger: ledger, Commitments: held.commitments, Sealed: sealed}, nil
}

// behind is how long a node waits for a grant that another one has told of: its
// own commit of the same block is a moment away.
const behind = 400 * time.Millisecond

// awaitGrant reads a committed grant and returns the state that has it. It waits
// a moment for one that is not there yet.
func (n *Node) awaitGrant(ctx context.Context, id vm.Hash) (sdk.Context, types.Grant, error) {
	ctx, cancel := context.WithTimeout(ctx, behind)
	defer cancel()
	for {
		next := n.ledger.Next() // before it is read: what is read may only be too new
		state, grant, err := n.ledger.granted(id)
		if vm.CodeOf(err) != vm.CodePermission {
			return state, grant, err
		}
		select {
		case <-ctx.Done():
			return state, grant, err
		case <-next:
		}
	}
}

// held returns the share for keys, which are of one epoch: partials of different
// secrets do not go together.
func (n *Node) held(state sdk.Context, ids []keys.ID) (held, error) {
	for _, id := range ids {
		if id.Epoch != ids[0].Epoch {
			return held{}, vm.Refuse(vm.CodeMalformed, "asks for keys of epochs %d and %d, want one epoch at a time", ids[0].Epoch, id.Epoch)
		}
	}
	group, err := n.ledger.Committee.Group(state, ids[0].Epoch)
	if err != nil {
		return held{}, basic(err)
	}
	h, err := n.keys.of(group)
	if err != nil {
		return h, fmt.Errorf("%w (%w)", vm.Refuse(vm.CodeUnavailable, "this node cannot make keys of epoch %d now", group.Epoch).Try("ask another node"), err)
	}
	return h, nil
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
