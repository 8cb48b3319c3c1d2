package node

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/secretvm/secretvm/kms/api"
	"github.com/secretvm/secretvm/kms/page"
	"github.com/secretvm/secretvm/kms/wire"
	"github.com/secretvm/secretvm/vm"
)

// newServer bounds every phase of a connection.
func newServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second,
		WriteTimeout: 40 * time.Second, IdleTimeout: 60 * time.Second, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// handler is the node's whole interface.
func (n *Node) handler() http.Handler {
	read := newLimiter(50, 200, 64, n.now)
	decide := newLimiter(n.rate, 4*n.rate, 512, n.now) // a release costs every validator a verification
	seal := newLimiter(4*n.rate, 16*n.rate, 512, n.now)
	own := newLimiter(10, 30, 16, n.now)

	mux := http.NewServeMux()
	get := func(path string, f func(*http.Request) (any, error)) {
		mux.Handle("GET "+path, n.counts.observe("read", read.wrap(n.answer(f))))
	}
	post := func(path string, l *limiter, f func(*http.Request) (any, error)) {
		mux.Handle("POST "+path, n.counts.observe(path[strings.LastIndexByte(path, '/')+1:], l.wrap(n.answer(f))))
	}

	// What machines ask.
	get(wire.PathStatus, func(r *http.Request) (any, error) { return n.ledger.statusOf(r.URL.Query().Get("epoch"), n.now()) })
	post(wire.PathRelease, decide, with(counted(&n.counts.releases, &n.counts.releaseTime, n.relay.release)))
	post(wire.PathPartials, seal, with(counted(&n.counts.partials, &n.counts.partialsTime, n.partials)))
	post(wire.PathAdvance, decide, with(n.relay.advance))

	// What anybody may read.
	get(wire.PathParams, func(*http.Request) (any, error) {
		_, p, err := n.ledger.params()
		return p, err
	})
	get(wire.PathGenesis, func(*http.Request) (any, error) { return n.genesis, nil })
	get(wire.PathServices, func(*http.Request) (any, error) { return n.ledger.services() })
	get(wire.PathServices+"/{owner}/{name}", func(r *http.Request) (any, error) { return n.ledger.service(serviceOf(r)) })
	get(wire.PathServices+"/{owner}/{name}/log", func(r *http.Request) (any, error) { return n.ledger.log(serviceOf(r)) })
	get(wire.PathGrants+"/{id}", func(r *http.Request) (any, error) {
		id, err := vm.ParseHash(r.PathValue("id"))
		if err != nil {
			return nil, vm.Refuse(vm.CodeMalformed, "grant id: %v", err)
		}
		g, err := n.ledger.grant(id)
		if err != nil {
			return wire.Grant{}, err
		}
		return n.ledger.complete(g)
	})

	// What whoever brings this node to the chain asks.
	post(wire.PathAdmission, newLimiter(0.5, 4, 2, n.now), with(n.admission))

	// What owners send: transactions that they signed.
	get(wire.PathAccounts+"/{address}", func(r *http.Request) (any, error) { return n.ledger.account(r.PathValue("address")) })
	post(wire.PathTx, own, with(func(ctx context.Context, q wire.Tx) (wire.TxResult, error) {
		wait, err := n.ledger.submit(ctx, q.Tx)
		if err != nil {
			return wire.TxResult{}, err
		}
		return wait(ctx)
	}))

	// What everybody else's programs speak.
	public := n.public.Handler()
	for _, path := range []string{api.PathOpenAPI, "/secretvm/", "/cosmos/"} {
		mux.Handle("GET "+path, n.counts.observe("api", read.wrap(public)))
	}
	mux.Handle("POST /cosmos/", n.counts.observe("api", own.wrap(public)))

	// What people look at, and who watches the node.
	mux.Handle("GET "+page.Path, n.counts.observe("page", read.wrap(page.New(n.ledger.App, n.log).Handler())))
	mux.Handle("GET /{$}", read.wrap(http.RedirectHandler(page.Path, http.StatusSeeOther)))
	mux.Handle("GET "+pathMetrics, n.counts.observe("metrics", read.wrap(http.HandlerFunc(n.serveMetrics))))
	return mux
}

func serviceOf(r *http.Request) string { return r.PathValue("owner") + "/" + r.PathValue("name") }

// with reads a bounded JSON body of exactly one value without unknown fields.
func with[Q, A any](f func(context.Context, Q) (A, error)) func(*http.Request) (any, error) {
	return func(r *http.Request) (any, error) {
		var q Q
		dec := json.NewDecoder(r.Body)
		dec.DisallowUnknownFields()
		if err := dec.Decode(&q); err != nil {
			var big *http.MaxBytesError
			if errors.As(err, &big) {
				return nil, vm.Refuse(vm.CodeTooLarge, "the request has more than %d bytes", big.Limit)
			}
			return nil, vm.Refuse(vm.CodeMalformed, "read the request: %v", err)
		}
		if _, err := dec.Token(); !errors.Is(err, io.EOF) {
			return nil, vm.Refuse(vm.CodeMalformed, "read the request: bytes trail it")
		}
		return f(r.Context(), q)
	}
}

// answer writes what f returns. Errors that are no refusals are the node's own
// trouble: they are logged here, and the asker learns only that there was one.
func (n *Node) answer(f func(*http.Request) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, wire.MaxRequest)
		v, err := f(r)
		if err != nil {
			var refusal *vm.Refusal
			if !errors.As(err, &refusal) || refusal.Code == vm.CodeInternal {
				n.log.Error("request failed", "path", r.URL.Path, "err", err)
			}
			wire.WriteRefusal(w, err)
			return
		}
		wire.WriteJSON(w, http.StatusOK, v)
	})
}
