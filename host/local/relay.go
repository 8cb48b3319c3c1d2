package local

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/secretvm/secretvm/vm"
)

const (
	releasePath     = "/kms/v1/release" // where machines ask for keys
	maxRelease      = 2 << 20           // bytes
	completeTimeout = 20 * time.Second  // of the half minute that a machine waits for an answer
)

// Complete puts what vendors sign about a processor (collateral) into evidence
// that lacks it.
type Complete func(ctx context.Context, ev *vm.Evidence, note Note) error

// relay stands between a machine in a real TEE and the local KMS. What the
// machine sends passes as it is, but for releases: to their evidence it adds the
// collateral that no guest brings along. Nobody has to believe the relay. It is on
// the way of the host, which the machine does not trust; grants are bound to what
// the machine quoted, and the chain checks every signature of the collateral.
type relay struct {
	server *http.Server
	port   int
	done   chan struct{} // closed when the server has ended
	proxy  httputil.ReverseProxy
	find   Complete
	note   Note

	mu      sync.Mutex
	problem error // of the last collateral that was looked for
}

// startRelay serves the KMS at api on a port of loopback.
func startRelay(api string, find Complete, note Note) (*relay, error) {
	target, err := url.Parse(api)
	if err != nil {
		return nil, fmt.Errorf("start relay to the KMS: %w", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start relay to the KMS: %w", err)
	}
	r := &relay{port: listener.Addr().(*net.TCPAddr).Port, done: make(chan struct{}), find: find, note: note}
	r.proxy = httputil.ReverseProxy{
		Rewrite:  func(p *httputil.ProxyRequest) { p.SetURL(target) },
		ErrorLog: log.New(io.Discard, "", 0),
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			refuseRelay(w, http.StatusBadGateway, vm.Refuse(vm.CodeUnavailable, "the KMS does not answer: %v", err))
		},
	}
	r.server = &http.Server{Handler: r, ReadHeaderTimeout: 10 * time.Second, ErrorLog: r.proxy.ErrorLog}
	go func() {
		defer close(r.done)
		_ = r.server.Serve(listener) // until Close
	}()
	return r, nil
}

// ServeHTTP implements http.Handler.
func (r *relay) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	if q.Method == http.MethodPost && q.URL.Path == releasePath {
		body, err := io.ReadAll(http.MaxBytesReader(w, q.Body, maxRelease))
		if err != nil {
			refuseRelay(w, http.StatusRequestEntityTooLarge, vm.Refuse(vm.CodeTooLarge, "read release: %v", err))
			return
		}
		body = r.complete(q.Context(), body)
		q.Body, q.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		q.Header.Set("Content-Length", strconv.Itoa(len(body)))
	}
	r.proxy.ServeHTTP(w, q)
}

// complete adds collateral to a release. What it does not understand, and what
// it finds nothing for, it passes on: the chain says what is wrong with it.
func (r *relay) complete(ctx context.Context, body []byte) []byte {
	var fields map[string]json.RawMessage
	var ev vm.Evidence
	if json.Unmarshal(body, &fields) != nil || json.Unmarshal(fields["evidence"], &ev) != nil {
		return body
	}
	ctx, cancel := context.WithTimeout(ctx, completeTimeout)
	defer cancel()
	err := r.find(ctx, &ev, r.note)
	r.mu.Lock()
	r.problem = err
	r.mu.Unlock()
	if err != nil {
		r.note("collateral of the machine's processor: %v", err)
		return body
	}
	if fields["evidence"], err = json.Marshal(ev); err != nil {
		return body
	}
	completed, err := json.Marshal(fields)
	if err != nil {
		return body
	}
	return completed
}

// trouble says why a release has no collateral; empty if none lacked it.
func trouble(relays []*relay) string {
	for _, r := range relays {
		r.mu.Lock()
		err := r.problem
		r.mu.Unlock()
		if err != nil {
			return fmt.Sprintf("\n    what the vendor signs about this processor was not found: %v", err)
		}
	}
	return ""
}

// Close ends the relay and what it is asked at the time.
func (r *relay) Close() error {
	err := r.server.Close()
	<-r.done
	return err
}

func refuseRelay(w http.ResponseWriter, status int, refusal *vm.Refusal) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(refusal) // to a machine that has gone: nothing to do
}
