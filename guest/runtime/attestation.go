package runtime

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/secretvm/secretvm/guest/api/proof"
	"github.com/secretvm/secretvm/guest/attestation"
	"github.com/secretvm/secretvm/guest/ipc"
	"github.com/secretvm/secretvm/vm"
)

// servicePatience is how long a service may take from its start until it serves.
const servicePatience = time.Minute

// strangers is what the attestation service, a process of its own, is to guestd.
type strangers struct {
	key   attestation.Key
	ready *task // it answers strangers
}

// beginAttestation starts the process that makes the machine answer strangers,
// from before it has any key until it stops. Should it end, it is started again,
// with the same key and on the same socket.
func (m *machine) beginAttestation(ctx context.Context) error {
	key, err := attestation.NewKey()
	if err != nil {
		return err
	}
	secret, err := key.Secret()
	if err != nil {
		return err
	}
	socket := filepath.Join(ipc.Desk, attestation.Part)
	m.strangers = &strangers{key: key, ready: begin()}
	if err := m.answer(ctx, socket, ipc.UserAttestation, m.answersForStrangers()); err != nil {
		return err
	}
	port, err := listenTCP(ctx, vm.AttestationPort)
	if err != nil {
		return err
	}
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) // cannot fail
	_, err = ipc.Service{
		Part: attestation.Part, User: ipc.UserAttestation, Files: []*os.File{port}, Spared: true,
		Settings: attestation.Settings{
			Socket: socket, Key: secret, TEE: m.device.Kind(), Measurement: m.now, Config: m.handover.archive.Config, Compose: m.handover.archive.Compose,
			Events: m.handover.events, Booted: time.Duration(now.Nano()) - time.Since(m.booted),
		},
	}.Keep(ctx, m.commands, m.out.Note)
	return err
}

// startAttestation waits until strangers are answered.
func (m *machine) startAttestation(ctx context.Context) (string, error) {
	err := within(ctx, servicePatience, m.strangers.ready.wait)
	return fmt.Sprintf("key sha256:%.8s", m.strangers.key.SPKI), err
}

// answersForStrangers is all that the attestation service can ask.
func (m *machine) answersForStrangers() *ipc.Server {
	if len(m.handover.config.API) > 0 {
		m.desk = proof.New(m.device, m.handover.config)
	}
	key := m.strangers.key.SPKI
	claims := attestation.Claims(key, m.device.Kind(), m.handover.events)
	quotes := attestation.NewQuotes(m.device, m.quotedGPUs(), key, claims, m.signing())
	s := ipc.NewServer(nil)
	ipc.Handle(s, attestation.AskQuote, quotes.Quote)
	ipc.Handle(s, attestation.AskStatus, func(context.Context, struct{}) (attestation.Status, error) {
		status := m.status()
		status.Goroutines = goruntime.NumGoroutine()
		return status, nil
	})
	ipc.Handle(s, attestation.AskServices, func(ctx context.Context, _ struct{}) ([]string, error) { return m.services(ctx) })
	ipc.Handle(s, attestation.AskLogs, m.logs)
	ipc.Handle(s, attestation.AskReady, func(context.Context, struct{}) (struct{}, error) {
		m.strangers.ready.end(nil)
		return struct{}{}, nil
	})
	return s
}

// listenTCP listens at a port of all addresses, for a service that may not.
func listenTCP(ctx context.Context, port int) (*os.File, error) {
	address := net.JoinHostPort("", strconv.Itoa(port))
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	defer l.Close()
	file, err := l.(*net.TCPListener).File() // the socket lives on in it
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	return file, nil
}
