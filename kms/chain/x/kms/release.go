package kms

import (
	"context"
	"errors"
	"slices"

	"cosmossdk.io/collections"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/kms/decision"
	"github.com/secretvm/secretvm/vm"
)

// ReleaseGas is charged before a release is looked at, whatever becomes of it,
// so that a block's gas limit bounds how many quotes a block verifies.
const ReleaseGas = 2_000_000

// Release decides, and writes the decision to the ledger. A refusal is a
// transaction that succeeds: the owner shall see it. Requests that nobody owns
// (unknown service) or that no node made are errors and leave nothing behind.
func (s server) Release(ctx context.Context, m *types.MsgRelease) (*types.MsgReleaseResponse, error) {
	block := sdk.UnwrapSDKContext(ctx)
	block.GasMeter().ConsumeGas(ReleaseGas, "verify evidence")
	if m.Gpu != nil {
		block.GasMeter().ConsumeGas(ReleaseGas, "verify evidence of GPUs")
	}
	service, err := s.admit(ctx, m)
	if err != nil {
		return nil, err
	}
	request := m.Request()
	chain, err := s.gather(block, service, m, request)
	if err != nil {
		return nil, err
	}
	out, refusal, err := decision.Decide(request, chain)
	if err != nil {
		return nil, err
	}
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

// Admit decides whether a machine of the node service may become a node: m
// carries its evidence, and about what it must have been quoted for. The error
// is a refusal.
func (k Keeper) Admit(ctx context.Context, m *types.MsgRelease, about vm.Admission) (decision.Outcome, error) {
	block := sdk.UnwrapSDKContext(ctx)
	block.GasMeter().ConsumeGas(ReleaseGas, "verify evidence")
	service, err := k.Service(ctx, m.Service)
	if err != nil {
		return decision.Outcome{}, err
	}
	request := m.Request()
	request.Node = &about
	chain, err := k.gather(block, service, m, request)
	if err != nil {
		return decision.Outcome{}, err
	}
	out, refusal, err := decision.Decide(request, chain)
	if refusal != nil {
		err = types.Fail(refusal)
	}
	return out, err
}

// gather reads what the decision needs.
func (k Keeper) gather(block sdk.Context, service types.Service, m *types.MsgRelease, request decision.Request) (decision.Chain, error) {
	c := decision.Chain{ID: block.ChainID(), Height: block.BlockHeight(), Now: block.BlockTime().Unix(), Images: known{k, block, service.Id}}
	params, err := k.params.Get(block)
	if err != nil {
		return c, err
	}
	policy := service.PolicyAt(c.Now)
	c.MaxBlockAge, c.MaxBlockSeconds = params.MaxBlockAge, params.MaxBlockAgeSeconds
	if policy.MaxEvidenceAge != 0 {
		c.MaxBlockSeconds = min(c.MaxBlockSeconds, policy.MaxEvidenceAge)
	}
	c.Verify.Time, c.Verifier = block.BlockTime(), k.verifier
	if c.Verify.Roots, err = params.Roots(); err != nil {
		return c, err
	}
	c.Verify.Policy, c.NoHardware = policy.Verify()
	groups, err := k.committee.Groups(block)
	if err != nil {
		return c, err
	}
	for _, g := range groups {
		c.Groups = append(c.Groups, decision.Group{Epoch: g.Epoch, Key: g.Key()})
	}
	anchor, err := k.anchors.Get(block, m.Height)
	if err == nil {
		c.Anchor = &decision.Anchor{Time: anchor.Time}
		copy(c.Anchor.Hash[:], anchor.Hash)
	} else if !errors.Is(err, collections.ErrNotFound) {
		return c, err
	}
	id := request.GrantID(c.ID)
	c.Granted, err = k.grants.Has(block, id[:])
	return c, err
}

// grant writes who may have what to the ledger.
func (k Keeper) grant(block sdk.Context, service types.Service, m *types.MsgRelease, out decision.Outcome) (*types.Grant, error) {
	now := block.BlockTime().Unix()
	instance, err := k.Instance(block, service.Id, m.VmUid)
	if err != nil {
		return nil, err
	}
	counters, err := k.Counters(block, service.Id)
	if err != nil {
		return nil, err
	}
	id := m.Request().GrantID(block.ChainID())
	grant := types.Grant{
		Id: id[:], Service: service.Id, VmUid: m.VmUid, Image: out.Image, Keys: m.Keys, HpkeKey: m.HpkeKey, SessionKey: m.SessionKey,
		Generation: instance.Generation, Height: block.BlockHeight(), Time: now, TcbStatus: out.Verdict.TCBStatus,
		Anchor: types.TrustAnchor{Subject: out.Verdict.Anchor.Subject, Sha256: out.Verdict.Anchor.SHA256[:], Intel: out.Verdict.Anchor.Intel},
		Tee:    string(out.Verdict.TEE), HardwareId: out.Verdict.HardwareID,
	}
	if err := k.attach(block, &grant); err != nil {
		return nil, err
	}
	instance.VmUid, instance.Grant, instance.GrantedAt = m.VmUid, grant.Id, now
	number := counters.Grants
	counters.Grants++
	return &grant, errors.Join(
		k.grants.Set(block, grant.Id, grant),
		k.log.Set(block, collections.Join(service.Id, number), grant.Id),
		k.instances.Set(block, collections.Join(service.Id, m.VmUid), instance),
		k.counters.Set(block, service.Id, counters),
		block.EventManager().EmitTypedEvent(&types.EventGranted{
			Service: service.Id, VmUid: m.VmUid, Grant: grant.Id, Image: grant.Image, Tee: grant.Tee,
		}),
	)
}

// attach names what the owner sealed for the service's machines. It is read in
// this order on every node: reading costs gas, which is part of consensus.
func (k Keeper) attach(ctx context.Context, grant *types.Grant) error {
	env, _, err := k.Sealed(ctx, grant.Service, types.SealedEnv, grant.Time)
	if err != nil {
		return err
	}
	registry, _, err := k.Sealed(ctx, grant.Service, types.SealedRegistry, grant.Time)
	grant.Env, grant.Registry = env.GetDigest(), registry.GetDigest()
	return err
}

// refuse writes a refusal to the service's ring, which holds the newest few. A
// refusal that is there already is counted, so that repetition drives nothing
// out.
func (k Keeper) refuse(block sdk.Context, service types.Service, uid string, refusal *vm.Refusal) (*types.Refusal, error) {
	counters, err := k.Counters(block, service.Id)
	if err != nil {
		return nil, err
	}
	r := types.Refusal{
		Seq: counters.Refusals, Height: block.BlockHeight(), Time: block.BlockTime().Unix(), Count: 1, VmUid: uid,
		Code: string(refusal.Code), Field: bounded(refusal.Field), Found: bounded(refusal.Found), Wanted: bounded(refusal.Wanted),
		Reason: bounded(refusal.Reason), Hint: bounded(refusal.Hint),
	}
	known, err := k.recentRefusals(block, service.Id)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(known, func(old types.Refusal) bool {
		return old.VmUid == r.VmUid && old.Code == r.Code && old.Field == r.Field && old.Found == r.Found && old.Reason == r.Reason
	})
	if at >= 0 {
		r.Seq, r.Count = known[at].Seq, known[at].Count+1
	} else {
		counters.Refusals++
		err = k.counters.Set(block, service.Id, counters)
		if r.Seq >= types.MaxRefusals {
			err = errors.Join(err, k.refusals.Remove(block, collections.Join(service.Id, r.Seq-types.MaxRefusals)))
		}
	}
	return &r, errors.Join(err,
		k.refusals.Set(block, collections.Join(service.Id, r.Seq), r),
		block.EventManager().EmitTypedEvent(&types.EventRefused{Service: service.Id, VmUid: uid, Code: r.Code, Field: r.Field, Seq: r.Seq}),
	)
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
