package kms

import (
	"context"
	"encoding/binary"
	"errors"

	"cosmossdk.io/collections"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/types/query"

	"github.com/secretvm/secretvm/kms/chain/x/kms/types"
	"github.com/secretvm/secretvm/vm"
)

// Bounds of a page: a query is answered between blocks, not instead of them.
const (
	MaxPage   = 1000
	maxOffset = 10_000
)

// reader answers the module's queries.
type reader struct{ Keeper }

var _ types.QueryServer = reader{}

// NewQueryServer returns the module's query server. Errors are gRPC statuses:
// NotFound and InvalidArgument, with the refusal's words.
func NewQueryServer(k Keeper) types.QueryServer { return reader{k} }

// Params implements types.QueryServer.
func (r reader) Params(ctx context.Context, _ *types.QueryParamsRequest) (*types.QueryParamsResponse, error) {
	params, err := r.params.Get(ctx)
	return &types.QueryParamsResponse{Params: params}, err
}

// Service implements types.QueryServer.
func (r reader) Service(ctx context.Context, q *types.QueryServiceRequest) (*types.QueryServiceResponse, error) {
	service, err := r.Keeper.Service(ctx, q.Service)
	if err != nil {
		return nil, answer(err)
	}
	counters, err := r.Counters(ctx, q.Service)
	return &types.QueryServiceResponse{Service: service, Counters: counters, Policy: service.PolicyAt(now(ctx))}, err
}

// Services implements types.QueryServer.
func (r reader) Services(ctx context.Context, q *types.QueryServicesRequest) (*types.QueryServicesResponse, error) {
	page, err := bound(q.Pagination)
	if err != nil {
		return nil, err
	}
	if q.Owner == "" {
		services, next, err := query.CollectionPaginate(ctx, r.services, page, func(_ string, s types.Service) (types.Service, error) { return s, nil })
		return &types.QueryServicesResponse{Services: services, Pagination: next}, err
	}
	services, next, err := query.CollectionPaginate(ctx, r.owned, page, func(key collections.Pair[string, string], _ collections.NoValue) (types.Service, error) {
		return r.services.Get(ctx, key.K2())
	}, query.WithCollectionPaginationPairPrefix[string, string](q.Owner))
	return &types.QueryServicesResponse{Services: services, Pagination: next}, err
}

// Image implements types.QueryServer.
func (r reader) Image(ctx context.Context, q *types.QueryImageRequest) (*types.QueryImageResponse, error) {
	image, err := r.Keeper.Image(ctx, q.Service, q.Image)
	if err != nil {
		return nil, status.Error(codes.NotFound, err.Error())
	}
	return &types.QueryImageResponse{Image: image, State: image.State(now(ctx))}, nil
}

// Images implements types.QueryServer.
func (r reader) Images(ctx context.Context, q *types.QueryImagesRequest) (*types.QueryImagesResponse, error) {
	at := now(ctx)
	images, next, err := below(ctx, r, r.images, q.Service, q.Pagination, func(image types.Image) (types.QueryImageResponse, error) {
		return types.QueryImageResponse{Image: image, State: image.State(at)}, nil
	})
	return &types.QueryImagesResponse{Images: images, Pagination: next}, err
}

// Platforms implements types.QueryServer. Keys of pages are row numbers, u64 BE.
func (r reader) Platforms(ctx context.Context, q *types.QueryPlatformsRequest) (*types.QueryPlatformsResponse, error) {
	page, err := bound(q.Pagination)
	if err != nil {
		return nil, err
	}
	image, err := r.Keeper.Image(ctx, q.Service, q.Image)
	if err != nil {
		return nil, status.Error(codes.NotFound, err.Error())
	}
	first := page.Offset
	switch len(page.Key) {
	case 0:
	case 8:
		first = binary.BigEndian.Uint64(page.Key)
	default:
		return nil, status.Error(codes.InvalidArgument, "not a key of this list")
	}
	rows, err := r.Keeper.Platforms(ctx, q.Service, q.Image, min(first, image.Platforms), int(page.Limit))
	next := &query.PageResponse{Total: image.Platforms}
	if end := first + uint64(len(rows)); len(rows) > 0 && end < image.Platforms {
		next.NextKey = binary.BigEndian.AppendUint64(nil, end)
	}
	return &types.QueryPlatformsResponse{Platforms: rows, Pagination: next}, err
}

// Sealed implements types.QueryServer.
func (r reader) Sealed(ctx context.Context, q *types.QuerySealedRequest) (*types.QuerySealedResponse, error) {
	if err := types.CheckSealedName(q.Name); err != nil {
		return nil, answer(err)
	}
	if _, err := r.Keeper.Service(ctx, q.Service); err != nil {
		return nil, answer(err)
	}
	current, pending, err := r.Keeper.Sealed(ctx, q.Service, q.Name, now(ctx))
	return &types.QuerySealedResponse{Current: current, Pending: pending}, err
}

// Changes implements types.QueryServer.
func (r reader) Changes(ctx context.Context, q *types.QueryChangesRequest) (*types.QueryChangesResponse, error) {
	changes, next, err := below(ctx, r, r.changes, q.Service, q.Pagination, same[types.Change])
	return &types.QueryChangesResponse{Changes: changes, Pagination: next}, err
}

// Grant implements types.QueryServer.
func (r reader) Grant(ctx context.Context, q *types.QueryGrantRequest) (*types.QueryGrantResponse, error) {
	grant, err := r.grants.Get(ctx, q.Id)
	if errors.Is(err, collections.ErrNotFound) {
		return nil, status.Errorf(codes.NotFound, "there is no grant %.32x", q.Id)
	}
	return &types.QueryGrantResponse{Grant: grant}, err
}

// Grants implements types.QueryServer.
func (r reader) Grants(ctx context.Context, q *types.QueryGrantsRequest) (*types.QueryGrantsResponse, error) {
	grants, next, err := below(ctx, r, r.log, q.Service, q.Pagination, func(id []byte) (types.Grant, error) { return r.grants.Get(ctx, id) })
	return &types.QueryGrantsResponse{Grants: grants, Pagination: next}, err
}

// Refusals implements types.QueryServer.
func (r reader) Refusals(ctx context.Context, q *types.QueryRefusalsRequest) (*types.QueryRefusalsResponse, error) {
	refusals, next, err := below(ctx, r, r.refusals, q.Service, q.Pagination, same[types.Refusal])
	if err != nil {
		return nil, err
	}
	counters, err := r.Counters(ctx, q.Service)
	return &types.QueryRefusalsResponse{Refusals: refusals, Kept: types.MaxRefusals, Total: counters.Refusals, Pagination: next}, err
}

// Instance implements types.QueryServer.
func (r reader) Instance(ctx context.Context, q *types.QueryInstanceRequest) (*types.QueryInstanceResponse, error) {
	instance, err := r.instances.Get(ctx, collections.Join(q.Service, q.VmUid))
	if errors.Is(err, collections.ErrNotFound) {
		return nil, status.Errorf(codes.NotFound, "service %.200q has no machine %.40q", q.Service, q.VmUid)
	}
	return &types.QueryInstanceResponse{Instance: instance}, err
}

// Instances implements types.QueryServer.
func (r reader) Instances(ctx context.Context, q *types.QueryInstancesRequest) (*types.QueryInstancesResponse, error) {
	instances, next, err := below(ctx, r, r.instances, q.Service, q.Pagination, same[types.Instance])
	return &types.QueryInstancesResponse{Instances: instances, Pagination: next}, err
}

// below pages through what a service has of a kind.
func below[K, V, T any](ctx context.Context, r reader, of collections.Map[collections.Pair[string, K], V], service string, asked *query.PageRequest, view func(V) (T, error)) ([]T, *query.PageResponse, error) {
	page, err := bound(asked)
	if err != nil {
		return nil, nil, err
	}
	if _, err := r.Keeper.Service(ctx, service); err != nil {
		return nil, nil, answer(err)
	}
	return query.CollectionPaginate(ctx, of, page,
		func(_ collections.Pair[string, K], v V) (T, error) { return view(v) },
		query.WithCollectionPaginationPairPrefix[string, K](service))
}

func same[V any](v V) (V, error) { return v, nil }

// bound refuses pages whose answer would take long: what counts or skips reads
// all that it counts or skips.
func bound(asked *query.PageRequest) (*query.PageRequest, error) {
	page := &query.PageRequest{Limit: query.DefaultLimit}
	if asked == nil {
		return page, nil
	}
	if asked.CountTotal || asked.Offset > maxOffset {
		return nil, status.Errorf(codes.InvalidArgument, "count_total, and an offset above %d, are not answered: page with key", maxOffset)
	}
	*page = *asked
	if page.Limit == 0 {
		page.Limit = query.DefaultLimit
	}
	page.Limit = min(page.Limit, MaxPage)
	return page, nil
}

// now is the time of the newest block.
func now(ctx context.Context) int64 { return sdk.UnwrapSDKContext(ctx).BlockTime().Unix() }

// answer makes a gRPC status of a refusal.
func answer(err error) error {
	if code, ok := types.CodeOfError(err); ok && code == vm.CodeNoService {
		return status.Error(codes.NotFound, err.Error())
	} else if ok {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	return err
}
