package registry

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// Server is a running registry.
type Server struct {
	listener net.Listener
	http     *http.Server
	done     chan error
}

// Start serves the OCI image layout in dir at address, host:port of the
// loopback interface; port 0 is any free one.
func Start(dir, address string) (*Server, error) {
	h, err := Handler(dir)
	if err != nil {
		return nil, err
	}
	host, _, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
		return nil, fmt.Errorf("start registry: %q is not an address of the loopback interface", address)
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("start registry: %w", err)
	}
	s := &Server{
		listener: listener,
		http:     &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10},
		done:     make(chan error, 1),
	}
	go func() { s.done <- s.http.Serve(listener) }()
	return s, nil
}

// Port is the TCP port that the registry listens on.
func (s *Server) Port() int { return s.listener.Addr().(*net.TCPAddr).Port }

// Close ends the registry and the transfers that are under way.
func (s *Server) Close() error {
	err := s.http.Close()
	if serveErr := <-s.done; !errors.Is(serveErr, http.ErrServerClosed) {
		err = errors.Join(err, serveErr)
	}
	if err != nil {
		return fmt.Errorf("stop registry: %w", err)
	}
	return nil
}
