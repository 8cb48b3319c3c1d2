package ipc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/net/netutil"
)

// Bounds on who asks: time for a question's first lines, which come at once, and
// connections. A service that was taken over must not use up its peer.
const (
	headerTimeout = 5 * time.Second
	maxClients    = 64
)

// Server answers the questions of other processes of the machine.
type Server struct {
	known Errors
	mux   *http.ServeMux
}

// NewServer makes a server without any answers yet, whose errors carry the
// names in known.
func NewServer(known Errors) *Server { return &Server{known: known, mux: http.NewServeMux()} }

// Handle has a question answered by answer, whose context ends when nobody waits
// for the answer any longer. Questions are answered beside each other. It panics
// where the question has an answer already.
func Handle[Q, A any](s *Server, question string, answer func(context.Context, Q) (A, error)) {
	s.mux.HandleFunc("POST /"+question, func(w http.ResponseWriter, r *http.Request) {
		var q Q
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxMessage))
		if err == nil {
			err = json.Unmarshal(body, &q)
		}
		clear(body)
		if err != nil {
			s.fail(w, fmt.Errorf("read question %s: %w", question, err))
			return
		}
		a, err := answer(r.Context(), q)
		if err != nil {
			s.fail(w, err)
			return
		}
		out, err := json.Marshal(a)
		if err == nil && len(out) > MaxMessage {
			err = fmt.Errorf("the answer has %d bytes, more than %d", len(out), MaxMessage)
		}
		if err != nil {
			s.fail(w, fmt.Errorf("answer %s: %w", question, err))
			return
		}
		_, _ = w.Write(out) // who is gone learns nothing
		clear(out)
	})
}

func (s *Server) fail(w http.ResponseWriter, err error) {
	out, _ := json.Marshal(s.known.encode(err)) // strings always encode
	w.WriteHeader(http.StatusUnprocessableEntity)
	_, _ = w.Write(out)
}

// Serve answers on l until ctx ends, and closes it. It returns nil after a stop
// that ctx asked for.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	server := &http.Server{
		Handler: s.mux, ReadHeaderTimeout: headerTimeout, MaxHeaderBytes: 8 << 10,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), // a panic's text may hold what was asked
	}
	stopped := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stopped()
	if err := server.Serve(netutil.LimitListener(l, maxClients)); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("answer on %s: %w", l.Addr(), err)
	}
	return nil
}

// Inherited returns the listener among the Files that this service was started
// with, 0 for the first. Who made it can ask before this process is ready: the
// question waits.
func Inherited(n int) (net.Listener, error) {
	f := os.NewFile(uintptr(3+n), "inherited")
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("take over listener %d: %w", n, err)
	}
	return l, f.Close() // l has its own
}

// Listen makes the socket at path that only a user can open (and root), and its
// folder where there is none. What was left there by a process before is removed.
func Listen(ctx context.Context, path string, user int) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o711); err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("listen: %w", err)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	// Until both are set it is root's, and others cannot write to it.
	if err := errors.Join(os.Chmod(path, 0o600), os.Chown(path, user, user)); err != nil {
		return nil, errors.Join(fmt.Errorf("listen: %w", err), l.Close())
	}
	return l, nil
}
