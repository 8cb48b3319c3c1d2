package council

import (
	"context"

	"cosmossdk.io/collections"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cosmos/cosmos-sdk/types/query"

	"github.com/secretvm/secretvm/kms/chain/x/council/types"
)

// maxPage bounds one page of an answer.
const maxPage = 100

// reader answers queries.
type reader struct{ Keeper }

var _ types.QueryServer = reader{}

// NewQueryServer returns the module's query server.
func NewQueryServer(k Keeper) types.QueryServer { return reader{k} }

// Council implements types.QueryServer.
func (r reader) Council(ctx context.Context, q *types.QueryCouncilRequest) (*types.QueryCouncilResponse, error) {
	c, err := r.councils.Get(ctx, q.Address)
	if err != nil {
		return nil, status.Errorf(codes.NotFound, "there is no council %.100q", q.Address)
	}
	return &types.QueryCouncilResponse{Council: c}, nil
}

// Councils implements types.QueryServer.
func (r reader) Councils(ctx context.Context, q *types.QueryCouncilsRequest) (*types.QueryCouncilsResponse, error) {
	if q.Member == "" {
		found, page, err := query.CollectionPaginate(ctx, r.councils, bounded(q.Pagination), func(_ string, c types.Council) (types.Council, error) { return c, nil })
		return &types.QueryCouncilsResponse{Councils: found, Pagination: page}, refused(err)
	}
	found, page, err := query.CollectionPaginate(ctx, r.members, bounded(q.Pagination),
		func(key collections.Pair[string, string], _ collections.NoValue) (types.Council, error) {
			return r.councils.Get(ctx, key.K2())
		}, query.WithCollectionPaginationPairPrefix[string, string](q.Member))
	return &types.QueryCouncilsResponse{Councils: found, Pagination: page}, refused(err)
}

// Proposal implements types.QueryServer.
func (r reader) Proposal(ctx context.Context, q *types.QueryProposalRequest) (*types.QueryProposalResponse, error) {
	p, err := r.proposals.Get(ctx, q.Id)
	if err != nil {
		return nil, status.Errorf(codes.NotFound, "there is no proposal %d (any more)", q.Id)
	}
	return &types.QueryProposalResponse{Proposal: p}, nil
}

// Proposals implements types.QueryServer.
func (r reader) Proposals(ctx context.Context, q *types.QueryProposalsRequest) (*types.QueryProposalsResponse, error) {
	if has, err := r.councils.Has(ctx, q.Council); err != nil || !has {
		return nil, status.Errorf(codes.NotFound, "there is no council %.100q", q.Council)
	}
	set := r.ofCouncil
	if q.Open {
		set = r.open
	}
	found, page, err := query.CollectionPaginate(ctx, set, bounded(q.Pagination),
		func(key collections.Pair[string, uint64], _ collections.NoValue) (types.Proposal, error) {
			return r.proposals.Get(ctx, key.K2())
		}, query.WithCollectionPaginationPairPrefix[string, uint64](q.Council))
	return &types.QueryProposalsResponse{Proposals: found, Pagination: page}, refused(err)
}

// bounded is the page that is asked for, with no more entries than a page has.
func bounded(page *query.PageRequest) *query.PageRequest {
	if page == nil {
		page = &query.PageRequest{}
	}
	out := *page
	if out.Limit == 0 || out.Limit > maxPage {
		out.Limit = maxPage
	}
	return &out
}

// refused makes an invalid page the asker's fault.
func refused(err error) error {
	if err != nil {
		return status.Errorf(codes.InvalidArgument, "page: %v", err)
	}
	return nil
}
