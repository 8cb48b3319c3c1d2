package api

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"github.com/cosmos/cosmos-sdk/codec"
	"github.com/cosmos/cosmos-sdk/server/grpc/gogoreflection"
	_ "github.com/cosmos/cosmos-sdk/types/tx/amino" // reflection finds amino.proto
)

// Bounds of the gRPC server.
const (
	maxStreams = 64  // of one connection
	maxCalls   = 128 // of all connections at a time
)

// GRPC makes the gRPC server. Whoever calls it listens, serves and stops.
func (a *API) GRPC() *grpc.Server {
	s := grpc.NewServer(
		grpc.ForceServerCodec(codec.NewProtoCodec(a.app.Registry).GRPCCodec()),
		grpc.MaxRecvMsgSize(maxRequest), grpc.MaxSendMsgSize(maxAnswer), grpc.MaxConcurrentStreams(maxStreams),
		grpc.ConnectionTimeout(5*time.Second),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: time.Minute, Time: 30 * time.Second, Timeout: 10 * time.Second}),
	)
	a.app.RegisterGRPCServer(bounded{s, make(chan struct{}, maxCalls)})
	gogoreflection.Register(s)
	return s
}

// bounded registers services whose methods run at most so many at a time. The
// application's own interceptor would leave out the server's.
type bounded struct {
	*grpc.Server
	slots chan struct{}
}

// RegisterService implements grpc.ServiceRegistrar.
func (b bounded) RegisterService(desc *grpc.ServiceDesc, impl any) {
	wrapped := *desc
	wrapped.Methods = make([]grpc.MethodDesc, len(desc.Methods))
	for i, m := range desc.Methods {
		wrapped.Methods[i] = grpc.MethodDesc{
			MethodName: m.MethodName,
			Handler: func(srv any, ctx context.Context, dec func(any) error, with grpc.UnaryServerInterceptor) (any, error) {
				select {
				case b.slots <- struct{}{}:
					defer func() { <-b.slots }()
					return m.Handler(srv, ctx, dec, with)
				default:
					return nil, status.Error(codes.ResourceExhausted, "the node is busy")
				}
			},
		}
	}
	b.Server.RegisterService(&wrapped, impl)
}
