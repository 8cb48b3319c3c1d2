package attestd

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/secretvm/secretvm/step"
	"github.com/secretvm/secretvm/vm"
)

// Quoter asks the machine's TEE for a quote over reportData. The evidence
// comes without events.
type Quoter interface {
	Quote(ctx context.Context, reportData [64]byte) (vm.Evidence, error)
}

// Status is what the service tells anyone about the running machine.
type Status struct {
	Steps    []step.Result // of the boot; remarks and errors are not served
	Workload string        // "starting", "running", "degraded", "stopped"
}

// Options is everything the service needs; all but Status, Booted and Log is required.
type Options struct {
	Quoter      Quoter
	TEE         vm.TEE         // what Quoter is
	Measurement vm.Measurement // the registers after boot-complete
	Config      []byte         // canonical vm.Config, as measured
	Compose     []byte         // the compose file, as measured
	Events      []vm.Event     // runtime events, as extended
	Status      func() Status  // called at each request; must not block
	Booted      time.Time      // when the machine started; zero: now
	Log         *slog.Logger   // nil: silent
}

// Server is the attestation service of one boot.
type Server struct {
	opt    Options
	config vm.Config
	digest vm.Hash // of the config
	key    *bootKey
	quotes *quoteGate
	cpu    *cpuQuote
}

// Bounds on clients. A connection serves one request at a time.
const (
	maxConnections = 128
	maxHeaderBytes = 8 << 10
	headerTimeout  = 5 * time.Second
	readTimeout    = 10 * time.Second
	writeTimeout   = 40 * time.Second // includes the wait for a quote
	idleTimeout    = 15 * time.Second
	stopTimeout    = 5 * time.Second
)

// New makes a server with a fresh key. It refuses options that contradict each
// other: what is served must be what was measured.
func New(opt Options) (*Server, error) {
	if opt.Quoter == nil {
		return nil, errors.New("start attestation service: no quoter")
	}
	config, err := checkMeasured(opt)
	if err != nil {
		return nil, fmt.Errorf("start attestation service: %w", err)
	}
	key, err := newBootKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("start attestation service: %w", err)
	}
	if opt.Status == nil {
		opt.Status = func() Status { return Status{} }
	}
	if opt.Booted.IsZero() {
		opt.Booted = time.Now()
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{opt: opt, config: config, digest: vm.HashOf(opt.Config), key: key, quotes: newQuoteGate(opt.Quoter)}
	s.cpu = &cpuQuote{gate: s.quotes, reportData: cpuReportData(key.spki)}
	return s, nil
}

// checkMeasured holds config, compose file and events against each other and
// against the registers.
func checkMeasured(opt Options) (vm.Config, error) {
	config, err := vm.ParseConfig(opt.Config)
	if err != nil {
		return config, err
	}
	if got := vm.HashOf(opt.Compose); got != config.ComposeHash {
		return config, vm.Refuse(vm.CodeCompose, "the compose file is not the measured one").
			On("compose_hash", got.String(), config.ComposeHash.String())
	}
	id, err := config.ConfigID()
	if err != nil {
		return config, err
	}
	if !bytes.Equal(id[:], opt.Measurement.MRConfigID[:]) {
		return config, vm.Refuse(vm.CodeConfig, "the config is not the measured one").
			On("MR_CONFIG_ID", opt.Measurement.MRConfigID.String(), id.String())
	}
	rtmr, err := vm.Replay(opt.Events)
	if err != nil {
		return config, err
	}
	if rtmr[vm.RuntimeRegister] != opt.Measurement.RTMR[vm.RuntimeRegister] {
		return config, vm.Refuse(vm.CodeEvents, "the events do not explain the runtime register").
			On("RTMR3", opt.Measurement.RTMR[vm.RuntimeRegister].String(), rtmr[vm.RuntimeRegister].String())
	}
	return config, nil
}

// TLSKey returns the SHA-256 of the server key's SubjectPublicKeyInfo (DER),
// which every quote of this server names.
func (s *Server) TLSKey() vm.Hash { return s.key.spki }

// Serve answers HTTPS on l until ctx ends, then lets requests finish for a few
// seconds. It returns nil after a stop that ctx asked for, and closes l.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	server := &http.Server{
		Handler:           s.Handler(),
		TLSConfig:         s.key.tlsConfig(),
		MaxHeaderBytes:    maxHeaderBytes,
		ReadHeaderTimeout: headerTimeout, // covers the TLS handshake too
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		ErrorLog:          slog.NewLogLogger(s.opt.Log.Handler(), slog.LevelDebug),
		Protocols:         new(http.Protocols),
	}
	server.Protocols.SetHTTP1(true) // HTTP/2 would let one connection ask for everything at once
	failed := make(chan error, 1)
	go func() { failed <- server.ServeTLS(limitConnections(l, maxConnections), "", "") }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve attestation on %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := server.Shutdown(grace); err != nil {
		return errors.Join(fmt.Errorf("stop attestation service: %w", err), server.Close())
	}
	return nil
}
