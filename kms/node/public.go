package node

import (
	"context"
	"fmt"
	"net"

	"github.com/secretvm/secretvm/kms/api"
)

// serveGRPC serves the gRPC interface until stop is called; nothing when address
// is empty. Calls that are under way
// are cut off: they read, and can be repeated.
func serveGRPC(ctx context.Context, address string, public *api.API) (at string, stop func(), err error) {
	if address == "" {
		return "", func() {}, nil
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return "", nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	server := public.GRPC()
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener) // ends with stop
	}()
	return listener.Addr().String(), func() {
		server.Stop()
		<-served
	}, nil
}
