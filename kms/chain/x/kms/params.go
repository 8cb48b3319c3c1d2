package kms

import (
	"context"
	"errors"
	"slices"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/vm"
)

// UpdateParams changes the chain's parameters; only its authority may. It cannot
// add a root of its own: whoever holds one can forge the evidence of any machine
// of any service, and no owner would have agreed to that.
func (s server) UpdateParams(ctx context.Context, m *types.MsgUpdateParams) (*types.MsgUpdateParamsResponse, error) {
	governance, err := s.committee.Params(ctx)
	if err != nil {
		return nil, err
	}
	if governance.Authority == "" || m.Authority != governance.Authority {
		return nil, types.Fail(vm.Refuse(vm.CodePermission, "only the chain's authority changes its parameters").On("authority", m.Authority, governance.Authority))
	}
	old, err := s.params.Get(ctx)
	if err != nil {
		return nil, err
	}
	for _, root := range m.Params.TrustRoots {
		if root != types.TrustIntel && root != types.TrustAMD && !slices.Contains(old.TrustRoots, root) {
			return nil, types.Fail(vm.Refuse(vm.CodePermission, "the roots of the chain's genesis can be taken away, and none but the vendors' can be added").
				On("trust_roots", "another certificate", types.TrustIntel+", "+types.TrustAMD+", or those of before"))
		}
	}
	return &types.MsgUpdateParamsResponse{}, errors.Join(
		s.params.Set(ctx, m.Params),
		sdk.UnwrapSDKContext(ctx).EventManager().EmitTypedEvent(&types.EventParamsUpdated{Authority: m.Authority}),
	)
}
