package node

import (
	"encoding/json"
	"time"

	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/kms/wire"
	"github.com/secretvm/secretvm/vm"
)

// This file turns the ledger's state into the shapes of package wire.

func at(unix int64) time.Time { return time.Unix(unix, 0).UTC() }

func viewGrant(g types.Grant) wire.Grant {
	out := wire.Grant{
		Service: g.Service, InstanceID: g.VmUid, Image: g.Image, Keys: g.IDs(), HPKEKey: g.HpkeKey, SessionKey: g.SessionKey,
		Generation: g.Generation, Height: g.Height, Time: at(g.Time), TCBStatus: g.TcbStatus,
		Anchor: vm.Anchor{Subject: g.Anchor.Subject, Intel: g.Anchor.Intel},
	}
	copy(out.ID[:], g.Id)
	copy(out.Anchor.SHA256[:], g.Anchor.Sha256)
	return out
}

// vouched is what this node's ledger says of a grant, for the machine to compare
// with what it was given.
func vouched(g types.Grant) wire.Ledger {
	l := wire.Ledger{Time: g.Time, Generation: g.Generation}
	copy(l.Env[:], g.Env)
	copy(l.Registry[:], g.Registry)
	return l
}

// viewSealed is nil for nil.
func viewSealed(s *types.Sealed) *wire.Sealed {
	if s == nil {
		return nil
	}
	return &wire.Sealed{Epoch: s.Epoch, Ciphertext: s.Ciphertext}
}

func viewRefusal(r types.Refusal) wire.Refused {
	return wire.Refused{Seq: r.Seq, Height: r.Height, Time: at(r.Time), Count: r.Count, InstanceID: r.VmUid, Refusal: *r.Refusal()}
}

func viewService(s types.Service, c types.Counters, images []types.Image, first []*types.Platform, now int64) wire.Service {
	out := wire.Service{
		ID: s.Id, Owner: s.Owner, Name: s.Name, Height: s.Height, Time: at(s.Time), Grants: c.Grants,
		Policy: viewPolicy(s.PolicyAt(now)), Frozen: s.FrozenAt != 0, Images: []wire.Image{},
	}
	if p := s.PendingPolicy; p != nil && p.ActiveAt > now {
		out.PendingPolicy = &wire.PendingPolicy{Policy: viewPolicy(p.Policy), ActiveAt: at(p.ActiveAt)}
	}
	for n, i := range images {
		out.Images = append(out.Images, viewImage(i, first[n], now))
	}
	return out
}

func viewPolicy(p types.Policy) wire.Policy {
	out := wire.Policy{
		UpgradeDelay: p.UpgradeDelay, TCBStatuses: p.TcbStatuses, Grace: p.Grace, Advisories: p.Advisories,
		MinEvaluation: p.MinEvaluation, MaxEvidenceAge: p.MaxEvidenceAge, StaleCollateral: p.StaleCollateral,
	}
	if p.Hardware != nil {
		ids := append([]string{}, p.Hardware.Ids...)
		out.Hardware = &ids
	}
	return out
}

// viewImage shows an image with the first of its TDX platforms, if it has one.
func viewImage(i types.Image, first *types.Platform, now int64) wire.Image {
	out := wire.Image{
		Index: i.Index, Description: i.Description, Height: i.Height, Time: at(i.AddedAt), ActiveAt: at(i.ActiveAt), State: i.State(now),
		Platforms: i.Platforms, Template: json.RawMessage(i.Template), RTMR1: register(i.Rtmr1), RTMR2: register(i.Rtmr2), RTMR3: register(i.Rtmr3),
	}
	if first != nil {
		out.MRTD, out.RTMR0, out.Launch = register(first.Mrtd), register(first.Rtmr0), register(first.Launch)
	}
	if i.RevokedAt != 0 {
		revoked := at(i.RevokedAt)
		out.RevokedAt, out.Revocation = &revoked, i.Revocation
	}
	if len(i.RootHash) != 0 {
		out.RootHash = new(vm.Hash)
		copy(out.RootHash[:], i.RootHash)
	}
	return out
}

// register is nil for one that an image does not have.
func register(b []byte) *vm.Register {
	if len(b) == 0 {
		return nil
	}
	r := new(vm.Register)
	copy(r[:], b)
	return r
}
