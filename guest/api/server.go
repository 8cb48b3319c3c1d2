// Package api answers a machine's own containers: quotes about their data, keys
// and signatures under keys of their service, and what the machine is. Each
// service that the measured config grants something has a socket of its own,
// which the workload mounts into its containers alone: who asks is known by where
// it asks, and who was granted nothing has nowhere to.
//
// Containers are strangers with better access: a quote that they get lies in a
// domain of its own (vm.WorkloadReportData), one is made at a time and leaves the
// device idle for as long again, and each service has its own few places in the
// queue.
package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/secretvm/secretvm/guest/pace"
	"github.com/secretvm/secretvm/guestapi"
	"github.com/secretvm/secretvm/vm"
)

// Options is what the API tells and uses.
type Options struct {
	Machine Machine    // guestd
	TEE     vm.TEE     // what it has
	Config  vm.Config  // as measured
	Events  []vm.Event // runtime events, as extended
	Keys    Keys       // nil: no grant needs one
}

// Server is the API of one boot.
type Server struct {
	opt     Options
	info    guestapi.Info     // without what depends on who asks
	signers map[string]signer // by kind
	log     known
}

// Bounds on containers. A service that asks for more at once waits, or is
// turned away, alone.
const (
	maxRequests  = 8 // of one service
	maxBodyBytes = 256 << 10
	maxHeader    = 8 << 10
	requestCost  = time.Millisecond // so that one service asks at most a thousand times a second,
	requestBurst = time.Second      // after as many at once
	patience     = 10 * time.Second
)

// New makes a server. It derives the keys that sign.
func New(opt Options) (*Server, error) {
	digest, err := opt.Config.Digest()
	if err != nil {
		return nil, fmt.Errorf("start the containers' API: %w", err)
	}
	s := &Server{
		opt:  opt,
		info: guestapi.Info{TEE: opt.TEE, ConfigHash: digest, Config: opt.Config, Events: opt.Events},
	}
	for _, e := range opt.Events {
		if e.Name == vm.EventImage {
			copy(s.info.Image[:], e.Payload)
		}
	}
	if s.signers, err = newSigners(opt.Config, opt.Keys); err != nil {
		return nil, fmt.Errorf("start the containers' API: %w", err)
	}
	return s, nil
}

// Serve answers one service on l until ctx ends.
func (s *Server) Serve(ctx context.Context, service string, l net.Listener) {
	server := &http.Server{
		Handler: s.Handler(service), MaxHeaderBytes: maxHeader, ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout: 10 * time.Second, WriteTimeout: pace.QuoteTimeout + patience, IdleTimeout: 10 * time.Second,
	}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	_ = server.Serve(l) // ends with ctx
}

// request is one question of a service.
type request struct {
	*http.Request
	service string
}

// Handler answers one service.
func (s *Server) Handler(service string) http.Handler {
	mux := http.NewServeMux()
	for pattern, answer := range map[string]func(request) (any, error){
		"GET " + guestapi.PathInfo:      s.answerInfo,
		"GET " + guestapi.PathQuote:     s.answerQuote,
		"GET " + guestapi.PathKey:       s.answerKey,
		"GET " + guestapi.PathPublicKey: s.answerPublicKey,
		"POST " + guestapi.PathSign:     s.answerSign,
		"POST " + guestapi.PathEvent:    s.answerEvent,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			out, err := answer(request{r, service})
			if err != nil {
				refuse(w, err)
				return
			}
			write(w, http.StatusOK, out)
		})
	}
	return limit(mux)
}

// need refuses what the service that asks is not granted.
func (s *Server) need(r request, grant string) error {
	if s.opt.Config.API.Allows(r.service, grant) {
		return nil
	}
	return vm.Refuse(vm.CodePermission, "service %s is not granted %s", r.service, grant).
		Try("name it in the compose file, which is measured: x-secretvm: { api: { " + r.service + ": [" + grant + "] } }")
}

func (s *Server) answerInfo(r request) (any, error) {
	info := s.info
	info.Service, info.Grants = r.service, s.opt.Config.API[r.service]
	err := s.need(r, vm.GrantInfo)
	if err == nil {
		info.ApplicationRegister, info.ApplicationEvents, err = s.log.read(r.Context(), s.opt.Machine, -1)
	}
	return info, err
}

// limit bounds how much one service asks.
func limit(next http.Handler) http.Handler {
	places := make(chan struct{}, maxRequests)
	rate := &pace.Pacer{Burst: requestBurst, Patience: patience}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
		default:
			refuse(w, pace.ErrBusy)
			return
		}
		if err := rate.Take(r.Context(), requestCost); err != nil {
			refuse(w, err)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBodyBytes)
		next.ServeHTTP(w, r)
	})
}

// readJSON reads a request's body, whose fields are all known.
func readJSON(r request, into any) error {
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return vm.Refuse(vm.CodeMalformed, "the body is not the JSON that %s takes: %v", r.URL.Path, err)
	}
	return nil
}

// refuse answers with err as JSON. What is no refusal says nothing of itself.
func refuse(w http.ResponseWriter, err error) {
	var r *vm.Refusal
	switch {
	case errors.Is(err, pace.ErrBusy):
		r = vm.Refuse(vm.CodeUnavailable, "%v", err).Try("ask again in a few seconds")
	case !errors.As(err, &r):
		r = vm.Refuse(vm.CodeInternal, "the machine failed to answer").Try("ask again; if it stays, the machine's console may say why")
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
