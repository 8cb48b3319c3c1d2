package kms

import (
	"context"
	"errors"

	"cosmossdk.io/collections"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/secretvm/secretvm/attest"
	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/kms/decision"
	"github.com/secretvm/secretvm/vm"
)

// ReleaseGas is charged before a release is looked at, whatever becomes of it,
// so that a block's gas limit bounds how many quotes a block verifies.
const ReleaseGas = 2_000_000

// MaxRefusals is how many refusals the ledger keeps for one service.
const MaxRefusals = 64

// Release decides, and writes the decision to the ledger. A refusal is a
// transaction that succeeds: the owner shall see it. Requests that nobody owns
// (unknown service) or that no node made are errors and leave nothing behind.
func (s server) Release(ctx context.Context, m *types.MsgRelease) (*types.MsgReleaseResponse, error) {
	block := sdk.UnwrapSDKContext(ctx)
	block.GasMeter().ConsumeGas(ReleaseGas, "verify evidence")
	service, err := s.admit(ctx, m)
	if err != nil {
		return nil, err
	}
	request := m.Request()
	known, err := s.gather(block, m, request)
	if err != nil {
		return nil, err
	}
	out, refusal := decision.Decide(request, known)
	if refusal != nil {
		recorded, err := s.refuse(block, service, m.VmUid, refusal)
		return &types.MsgReleaseResponse{Refusal: recorded}, err
	}
	grant, err := s.grant(block, service, m, out)
	return &types.MsgReleaseResponse{Grant: grant}, err
}

// admit finds out cheaply whether a release may take the chain's time: it was
// relayed by a node, for a service that exists. CheckTx asks the same.
func (k Keeper) admit(ctx context.Context, m *types.MsgRelease) (types.Service, error) {
	if _, ok, err := k.committee.Relay(ctx, m.Relay); err != nil {
		return types.Service{}, err
	} else if !ok {
		return types.Service{}, types.Fail(vm.Refuse(vm.CodePermission, "only nodes relay releases").On("relay", m.Relay, "a node's account"))
	}
	return k.Service(ctx, m.Service)
}

// Precheck is what CheckTx asks of a message before it may enter the mempool,
// beyond its signature.
func (k Keeper) Precheck(ctx context.Context, msg sdk.Msg) error {
	switch m := msg.(type) {
	case *types.MsgRelease:
		_, err := k.admit(ctx, m)
		return err
	case *types.MsgAdvance:
		_, _, err := k.checkAdvance(sdk.UnwrapSDKContext(ctx), m)
		return err
	}
	return nil
}

// gather reads what the decision needs.
func (k Keeper) gather(block sdk.Context, m *types.MsgRelease, request decision.Request) (decision.Chain, error) {
	c := decision.Chain{ID: block.ChainID(), Height: block.BlockHeight(), Now: block.BlockTime().Unix()}
	params, err := k.params.Get(block)
	if err != nil {
		return c, err
	}
	c.MaxBlockAge, c.MaxBlockSeconds = params.MaxBlockAge, params.MaxBlockAgeSeconds
	roots, err := params.Roots()
	if err != nil {
		return c, err
	}
	c.Verify = attest.Options{Roots: roots, Time: block.BlockTime()}
	group, err := k.committee.Group(block, 0)
	if err != nil {
		return c, err
	}
	c.GroupKey = group.Key()
	anchor, err := k.anchors.Get(block, m.Height)
	if err == nil {
		c.Anchor = &decision.Anchor{Time: anchor.Time}
		copy(c.Anchor.Hash[:], anchor.Hash)
	} else if !errors.Is(err, collections.ErrNotFound) {
		return c, err
	}
	id := request.GrantID(c.ID)
	if c.Granted, err = k.grants.Has(block, id[:]); err != nil {
		return c, err
	}
	images, err := k.Images(block, m.Service)
	if err != nil {
		return c, err
	}
	for _, i := range images {
		image, err := i.Decision()
		if err != nil {
			return c, err
		}
		c.Images = append(c.Images, image)
	}
	return c, nil
}

// grant writes who may have what to the ledger.
func (k Keeper) grant(block sdk.Context, service types.Service, m *types.MsgRelease, out decision.Outcome) (*types.Grant, error) {
	instance, err := k.Instance(block, service.Id, m.VmUid)
	if err != nil {
		return nil, err
	}
	id := m.Request().GrantID(block.ChainID())
	grant := types.Grant{
		Id: id[:], Service: service.Id, VmUid: m.VmUid, Image: out.Image, Keys: m.Keys, HpkeKey: m.HpkeKey, SessionKey: m.SessionKey,
		Generation: instance.Generation, Height: block.BlockHeight(), Time: block.BlockTime().Unix(), TcbStatus: out.Verdict.TCBStatus,
		Anchor: types.TrustAnchor{Subject: out.Verdict.Anchor.Subject, Sha256: out.Verdict.Anchor.SHA256[:], Intel: out.Verdict.Anchor.Intel},
	}
	instance.Grant = grant.Id
	number := service.Grants
	service.Grants++
	return &grant, errors.Join(
		k.grants.Set(block, grant.Id, grant),
		k.log.Set(block, collections.Join(service.Id, number), grant.Id),
		k.instances.Set(block, collections.Join(service.Id, m.VmUid), instance),
		k.services.Set(block, service.Id, service),
	)
}

// refuse writes a refusal to the service's ring, which holds the newest few. A
// refusal that is there already is counted, so that repetition drives nothing
// out.
func (k Keeper) refuse(block sdk.Context, service types.Service, uid string, refusal *vm.Refusal) (*types.Refusal, error) {
	r := types.Refusal{
		Seq: service.Refusals, Height: block.BlockHeight(), Time: block.BlockTime().Unix(), Count: 1, VmUid: uid,
		Code: string(refusal.Code), Field: bounded(refusal.Field), Found: bounded(refusal.Found), Wanted: bounded(refusal.Wanted),
		Reason: bounded(refusal.Reason), Hint: bounded(refusal.Hint),
	}
	_, known, err := k.Log(block, service.Id, 1)
	if err != nil {
		return nil, err
	}
	for _, old := range known {
		if old.VmUid == r.VmUid && old.Code == r.Code && old.Field == r.Field && old.Found == r.Found && old.Reason == r.Reason {
			r.Seq, r.Count = old.Seq, old.Count+1
			return &r, k.refusals.Set(block, collections.Join(service.Id, r.Seq), r)
		}
	}
	service.Refusals++
	err = errors.Join(k.refusals.Set(block, collections.Join(service.Id, r.Seq), r), k.services.Set(block, service.Id, service))
	if r.Seq >= MaxRefusals {
		err = errors.Join(err, k.refusals.Remove(block, collections.Join(service.Id, r.Seq-MaxRefusals)))
	}
	return &r, err
}

// bounded cuts what came from a stranger to what the ledger keeps, and drops
// what a terminal would act upon.
func bounded(s string) string {
	const limit = 512
	out := make([]rune, 0, min(len(s), limit))
	for _, c := range s {
		if len(out) == limit {
			break
		}
		if c < ' ' || c == 0x7f || (c >= 0x80 && c < 0xa0) || c == '�' {
			c = '?'
		}
		out = append(out, c)
	}
	return string(out)
}
