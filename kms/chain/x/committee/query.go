package committee

import (
	"context"
	"errors"

	"cosmossdk.io/collections"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/secretvm/secretvm/kms/chain/x/committee/types"
)

// reader answers queries.
type reader struct{ Keeper }

var _ types.QueryServer = reader{}

// NewQueryServer returns the module's query server.
func NewQueryServer(k Keeper) types.QueryServer { return reader{k} }

// Params implements types.QueryServer.
func (r reader) Params(ctx context.Context, _ *types.QueryParamsRequest) (*types.QueryParamsResponse, error) {
	p, err := r.Keeper.Params(ctx)
	return &types.QueryParamsResponse{Params: p}, err
}

// Nodes implements types.QueryServer.
func (r reader) Nodes(ctx context.Context, _ *types.QueryNodesRequest) (*types.QueryNodesResponse, error) {
	nodes, err := r.Keeper.Nodes(ctx)
	return &types.QueryNodesResponse{Nodes: nodes}, err
}

// Epochs implements types.QueryServer.
func (r reader) Epochs(ctx context.Context, _ *types.QueryEpochsRequest) (*types.QueryEpochsResponse, error) {
	epochs, err := r.Keeper.Epochs(ctx)
	if err != nil {
		return nil, err
	}
	groups, err := r.Groups(ctx)
	return &types.QueryEpochsResponse{Epochs: epochs, Groups: groups}, err
}

// Round implements types.QueryServer.
func (r reader) Round(ctx context.Context, q *types.QueryRoundRequest) (*types.QueryRoundResponse, error) {
	if q.Round == 0 {
		round, open, err := r.OpenRound(ctx)
		if err != nil || !open {
			return &types.QueryRoundResponse{}, err
		}
		return &types.QueryRoundResponse{Round: &round}, nil
	}
	round, err := r.Keeper.Round(ctx, q.Round)
	if errors.Is(err, collections.ErrNotFound) {
		return nil, status.Errorf(codes.NotFound, "round %d is not, or not any more, on the ledger", q.Round)
	}
	return &types.QueryRoundResponse{Round: &round}, err
}
