package committee

import (
	"context"
	"errors"

	"cosmossdk.io/collections"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cosmos/cosmos-sdk/types/query"

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

// Recovery implements types.QueryServer.
func (r reader) Recovery(ctx context.Context, _ *types.QueryRecoveryRequest) (*types.QueryRecoveryResponse, error) {
	rules, err := r.RecoveryRules(ctx)
	if err != nil {
		return nil, err
	}
	backed, err := r.Backed(ctx)
	return &types.QueryRecoveryResponse{Rules: rules, Backed: backed}, err
}

// maxBackups bounds a page of backups, of which each may have 130 KB.
const maxBackups = 16

// Backups implements types.QueryServer.
func (r reader) Backups(ctx context.Context, q *types.QueryBackupsRequest) (*types.QueryBackupsResponse, error) {
	page := query.PageRequest{Limit: maxBackups}
	if q.Pagination != nil {
		if q.Pagination.Offset != 0 || q.Pagination.Reverse || q.Pagination.CountTotal {
			return nil, status.Error(codes.InvalidArgument, "backups are paged through by key")
		}
		page.Key = q.Pagination.Key
		if l := q.Pagination.Limit; l != 0 && l < maxBackups {
			page.Limit = l
		}
	}
	backups, next, err := query.CollectionPaginate(ctx, r.backups, &page, func(_ collections.Triple[uint64, uint64, uint32], b types.Backup) (types.Backup, error) {
		return b, nil
	})
	return &types.QueryBackupsResponse{Backups: backups, Pagination: next}, err
}
