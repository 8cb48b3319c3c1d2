package workload

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// RegistryAddress is where a registry hint appears inside the machine, so that
// a compose file that names localhost:5000/…@sha256:… works as on a laptop.
const RegistryAddress = "127.0.0.1:5000"

// maxForwards bounds the connections that are carried at a time.
const maxForwards = 64

// Forward carries connections from l to the registry at address until ctx
// ends. The registry is the host's: what comes from it is checked against the
// digests in the compose file by the engine, and is nobody's secret.
func Forward(ctx context.Context, l net.Listener, address string) error {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	slots := make(chan struct{}, maxForwards)
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("forward to the registry: %w", err)
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			carry(ctx, conn, address)
		})
	}
}

func carry(ctx context.Context, near net.Conn, address string) {
	defer near.Close()
	dialer := net.Dialer{Timeout: 10 * time.Second}
	far, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return // the engine sees a closed connection and says which image it was
	}
	defer far.Close()
	stop := context.AfterFunc(ctx, func() { near.Close(); far.Close() })
	defer stop()
	var wg sync.WaitGroup
	for _, d := range []struct{ to, from net.Conn }{{far, near}, {near, far}} {
		wg.Go(func() {
			_, _ = io.Copy(d.to, d.from)
			if half, ok := d.to.(interface{ CloseWrite() error }); ok {
				_ = half.CloseWrite()
			}
		})
	}
	wg.Wait()
}

// ListenRegistry opens the port of the forwarder. Port 5000 of the loopback is
// then taken; machines without the hint have it free.
func ListenRegistry(ctx context.Context) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", RegistryAddress)
	if err != nil {
		return nil, fmt.Errorf("listen for the registry: %w", err)
	}
	return l, nil
}
