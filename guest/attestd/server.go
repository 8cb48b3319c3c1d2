package attestd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/secretvm/secretvm/guest/attestation"
	"github.com/secretvm/secretvm/guest/pace"
	"github.com/secretvm/secretvm/guest/usage"
	"github.com/secretvm/secretvm/vm"
)

// Options is everything the service needs. The first eight are required; what is
// left out below them is not served.
type Options struct {
	Quotes      Quotes          // of the machine's TEE
	Key         attestation.Key // of this boot
	TEE         vm.TEE          // what Quotes are of
	Measurement vm.Measurement  // the registers after boot-complete
	Config      []byte          // canonical vm.Config, as measured
	Compose     []byte          // the compose file, as measured
	Events      []vm.Event      // runtime events, as extended
	Status      func() Status   // called at each request; must not block for long
	Booted      time.Time       // when the machine started; zero: now
	Log         *slog.Logger    // nil: silent

	Services  func(ctx context.Context) ([]string, error)                               // names of the containers
	Logs      func(ctx context.Context, q LogQuery, each func(line string) error) error // lines as of a system's log
	Resources func() usage.Samples
}

// Quotes gives quotes by what they are for: guestd's attestation.Quotes.
type Quotes interface {
	Quote(ctx context.Context, q attestation.Question) (attestation.Answer, error)
}

// What guestd tells.
type (
	Status    = attestation.Status
	Container = attestation.Container
)

// Server is the attestation service of one boot.
type Server struct {
	opt    Options
	config vm.Config
	digest vm.Hash // of the config
	key    *bootKey
	gate   *pace.Gate // before quotes
	cpu    *keptQuote
	keys   map[string]*keptQuote // of the keys that sign messages, by kind

	work    *governor // of connections and requests
	streams chan struct{}
	logs    chan struct{}
	counts  counts

	stopping context.Context // ends when the service stops; streams end with it
	stop     context.CancelFunc
}

// Bounds on clients. A connection serves one request at a time.
const (
	maxConnections = 1024
	maxHeaderBytes = 8 << 10
	headerTimeout  = 5 * time.Second
	readTimeout    = 10 * time.Second
	writeTimeout   = 40 * time.Second // includes the wait for a quote
	idleTimeout    = 15 * time.Second
	stopTimeout    = 5 * time.Second
)

// New makes a server. It refuses options that contradict each other: what is
// served must be what was measured.
func New(opt Options) (*Server, error) {
	if opt.Quotes == nil || opt.Key.Private == nil {
		return nil, errors.New("start attestation service: no quotes, or no key")
	}
	config, err := checkMeasured(opt)
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
	if opt.Services == nil {
		opt.Services = func(context.Context) ([]string, error) { return nil, nil }
	}
	if opt.Logs == nil {
		opt.Logs = func(context.Context, LogQuery, func(string) error) error { return nil }
	}
	if opt.Resources == nil {
		opt.Resources = func() usage.Samples { return nil }
	}
	s := &Server{
		opt: opt, config: config, digest: vm.HashOf(opt.Config), gate: pace.NewGate(nil, quoteQueue, nil),
		work: newGovernor(processTime), streams: make(chan struct{}, maxStreams), logs: make(chan struct{}, 1),
	}
	s.key = newBootKey(opt.Key)
	if config.ACME != nil {
		s.key.learn = func(name string) { // of a certificate that guestd has been given meanwhile
			if slices.Contains(config.ACME.Names, strings.ToLower(name)) {
				s.status()
			}
		}
	}
	s.cpu = s.keep(attestation.Question{For: attestation.ForKey})
	s.keys = map[string]*keptQuote{}
	for _, kind := range []string{vm.SignEd25519, vm.SignSecp256k1} {
		s.keys[kind] = s.keep(attestation.Question{For: attestation.ForSigning, Kind: kind})
	}
	s.stopping, s.stop = context.WithCancel(context.Background())
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

// admit waits until another connection may come in, and counts it. What it
// returns is called when the connection has ended.
func (s *Server) admit() (ended func()) {
	for s.stopping.Err() == nil && s.work.take(s.stopping) != nil { // it is accepted already: its turn comes
		time.Sleep(100 * time.Millisecond)
	}
	s.counts.connections.Add(1)
	s.counts.openConnections.Add(1)
	return func() { s.counts.openConnections.Add(-1) }
}

// TLSKey returns the SHA-256 of the server key's SubjectPublicKeyInfo (DER),
// which every quote of this server names.
func (s *Server) TLSKey() vm.Hash { return s.opt.Key.SPKI }

// status asks guestd, and shows the public certificate that it has, if it is
// another one.
func (s *Server) status() Status {
	status := s.opt.Status()
	if len(status.Chain) > 0 {
		if err := s.Install(status.Chain); err != nil {
			s.opt.Log.Error("public certificate", "error", err)
		}
	}
	return status
}

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
	go func() { failed <- server.ServeTLS(limitConnections(l, maxConnections, s.admit), "", "") }()
	renewing, done := context.WithCancel(ctx)
	defer done()
	go s.keepEvidence(renewing)
	select {
	case err := <-failed:
		return fmt.Errorf("serve attestation on %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	s.stop()
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := server.Shutdown(grace); err != nil {
		return errors.Join(fmt.Errorf("stop attestation service: %w", err), server.Close())
	}
	return nil
}
