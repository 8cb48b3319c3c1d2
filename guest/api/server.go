// Package api answers a machine's own containers: quotes about their data, and
// what the machine is. Each service that the measured config grants something
// has a socket of its own, which the workload mounts into its containers alone:
// who asks is known by where it asks, and who was granted nothing has nowhere to.
//
// Containers are strangers with better access: a quote that they get lies in a
// domain of its own (vm.WorkloadReportData), one is made at a time, and each
// service has its own few places in the queue.
package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/secretvm/secretvm/guestapi"
	"github.com/secretvm/secretvm/vm"
)

// Quoter asks the machine's TEE for a quote. The evidence comes without events.
type Quoter interface {
	Quote(ctx context.Context, reportData [64]byte) (vm.Evidence, error)
}

// Options is what the API tells and uses.
type Options struct {
	Quoter Quoter
	TEE    vm.TEE     // what Quoter is
	Config vm.Config  // as measured
	Events []vm.Event // runtime events, as extended
}

// Server is the API of one boot.
type Server struct {
	opt   Options
	info  guestapi.Info // without what depends on who asks
	quote chan struct{} // holds one token while a quote is made
}

// Bounds on containers. A service that asks for more at once waits, or is
// turned away, alone.
const (
	maxRequests   = 8 // of one service
	maxBodyBytes  = 64 << 10
	maxHeader     = 8 << 10
	quotePatience = 30 * time.Second
)

// New makes a server.
func New(opt Options) (*Server, error) {
	digest, err := opt.Config.Digest()
	if err != nil {
		return nil, fmt.Errorf("start the containers' API: %w", err)
	}
	s := &Server{opt: opt, quote: make(chan struct{}, 1), info: guestapi.Info{
		TEE: opt.TEE, ConfigHash: digest, Config: opt.Config, Events: opt.Events,
	}}
	for _, e := range opt.Events {
		if e.Name == vm.EventImage {
			copy(s.info.Image[:], e.Payload)
		}
	}
	return s, nil
}

// Listen makes a socket for each service that is granted something, in folder,
// and answers there until ctx ends. It returns their paths by service.
func (s *Server) Listen(ctx context.Context, folder string) (map[string]string, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("start the containers' API: %w", err)
	}
	sockets := map[string]string{}
	for service := range s.opt.Config.API {
		path := filepath.Join(folder, service+".sock")
		var lc net.ListenConfig
		l, err := lc.Listen(ctx, "unix", path)
		if err != nil {
			return nil, fmt.Errorf("start the containers' API: %w", err)
		}
		// Whoever sees the socket may ask: containers run as all kinds of users.
		if err := os.Chmod(path, 0o666); err != nil {
			return nil, fmt.Errorf("start the containers' API: %w", err)
		}
		sockets[service] = path
		server := &http.Server{
			Handler: s.Handler(service), MaxHeaderBytes: maxHeader, ReadHeaderTimeout: 5 * time.Second,
			ReadTimeout: 10 * time.Second, WriteTimeout: quotePatience + 10*time.Second, IdleTimeout: 10 * time.Second,
		}
		context.AfterFunc(ctx, func() { server.Close() })
		go func() { _ = server.Serve(l) }() // ends with ctx
	}
	return sockets, nil
}

// Handler answers one service.
func (s *Server) Handler(service string) http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern, grant string, answer func(r *http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if !s.opt.Config.API.Allows(service, grant) {
				refuse(w, vm.Refuse(vm.CodePermission, "service %s is not granted %s", service, grant).
					Try("name it in the compose file, which is measured: x-secretvm: { api: { "+service+": ["+grant+"] } }"))
				return
			}
			out, err := answer(r)
			if err != nil {
				refuse(w, err)
				return
			}
			write(w, http.StatusOK, out)
		})
	}
	handle("GET "+guestapi.PathInfo, vm.GrantInfo, func(*http.Request) (any, error) {
		info := s.info
		info.Service, info.Grants = service, s.opt.Config.API[service]
		return info, nil
	})
	handle("GET "+guestapi.PathQuote, vm.GrantQuote, s.answerQuote)
	return limit(mux)
}

// limit bounds how many requests of one service are answered at once.
func limit(next http.Handler) http.Handler {
	places := make(chan struct{}, maxRequests)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
		default:
			refuse(w, errBusy)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBodyBytes)
		next.ServeHTTP(w, r)
	})
}

var errBusy = vm.Refuse(vm.CodeUnavailable, "too much is asked for at once").Try("ask again in a few seconds")

// refuse answers with err as JSON. What is no refusal says nothing of itself.
func refuse(w http.ResponseWriter, err error) {
	var r *vm.Refusal
	if !errors.As(err, &r) {
		r = vm.Refuse(vm.CodeInternal, "the machine failed to answer").Try("the machine's log says why")
	}
	status := map[vm.Code]int{
		vm.CodePermission: http.StatusForbidden, vm.CodeUnavailable: http.StatusServiceUnavailable,
		vm.CodeInternal: http.StatusInternalServerError,
	}[r.Code]
	if status == 0 {
		status = http.StatusBadRequest
	}
	write(w, status, r)
}

func write(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil { // only a bug in the shapes of guestapi
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n')) // the container has gone: nobody to tell
}
