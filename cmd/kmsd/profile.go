package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/secretvm/secretvm/vm"
)

// serveProfiles serves Go's profiles of this process under /debug/pprof/, and
// nothing when address is empty. Profiles of the heap show what the node holds,
// its shares too, so it listens to this computer alone. stop ends it.
func serveProfiles(ctx context.Context, address string) (stop func(), err error) {
	if address == "" {
		return func() {}, nil
	}
	host, _, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
		return nil, vm.Refuse(vm.CodeInvalid, "profiles show what a node holds, and %q is not of this computer alone", address).
			Try("name 127.0.0.1:PORT, and reach it through ssh")
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen for profiles on %s: %w", address, err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(listener) // until stop
	}()
	return func() {
		_ = server.Close()
		<-ended
	}, nil
}
