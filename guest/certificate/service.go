package certificate

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/secretvm/secretvm/guest/attestation"
	"github.com/secretvm/secretvm/guest/ipc"
	"github.com/secretvm/secretvm/vm"
)

// What the process of this service was handed, by descriptor: the socket at the
// challenge's port, and the folder that containers find keys in. The latter is
// reached by no other way, since what it lies in is closed.
const (
	portFile     = 3
	sharedFolder = "/proc/self/fd/4"
)

// answerPatience is how long guestd may take to answer.
const answerPatience = 5 * time.Second

// Run is the process of this package: guestd starts it, without rights. It
// returns when it is stopped.
func Run() error {
	var s attestation.CertificatesSettings
	ctx, stop, err := ipc.Begin(&s)
	if err != nil {
		return err
	}
	defer stop()
	return keep(ctx, s, sharedFolder, ipc.Dial(s.Socket, nil), os.NewFile(portFile, "port"))
}

// keep keeps the certificates that settings want until ctx ends, and tells guestd.
func keep(ctx context.Context, s attestation.CertificatesSettings, shared string, guestd *ipc.Client, port *os.File) error {
	var k *Keeper
	held, err := newHeld(s.Request)
	if err != nil {
		return err
	}
	show := func(r attestation.Report) {
		// One that guestd does not take is told with the next change.
		_ = tell(guestd, attestation.AskShow, r)
	}
	k, err = New(Options{
		Config: s.Config, Attestation: held, Disk: s.Disk, Shared: shared,
		Note:    func(text string) { _ = tell(guestd, attestation.AskNote, text) }, // the same is in Status
		Changed: func() { show(attestation.Report{Certificates: *k.Status(), Chain: held.shown()}) },
		Listen:  func(context.Context) (net.Listener, error) { return net.FileListener(port) },
	})
	if err != nil {
		show(attestation.Report{Error: err.Error()})
		return err
	}
	k.o.Changed()
	k.Run(ctx)
	return nil
}

func tell[Q any](guestd *ipc.Client, what string, q Q) error {
	ctx, cancel := context.WithTimeout(context.Background(), answerPatience)
	defer cancel()
	_, err := ipc.Ask[Q, struct{}](ctx, guestd, what, q)
	return err
}

// held is the attestation service's key, which is in another process: all that
// is here is a request that it has signed.
type held struct {
	request []byte
	names   []string
	key     vm.Hash

	mu    sync.Mutex
	chain [][]byte
}

func newHeld(request []byte) (*held, error) {
	csr, err := x509.ParseCertificateRequest(request)
	if err == nil {
		err = csr.CheckSignature()
	}
	if err != nil {
		return nil, fmt.Errorf("read the request for the attestation service: %w", err)
	}
	return &held{request: request, names: csr.DNSNames, key: vm.HashOf(csr.RawSubjectPublicKeyInfo)}, nil
}

// Request implements Holder.
func (h *held) Request(names []string) ([]byte, error) {
	if !slices.Equal(names, h.names) {
		return nil, fmt.Errorf("the attestation service wants a certificate of %q, not of %q", h.names, names)
	}
	return h.request, nil
}

// Install implements Holder.
func (h *held) Install(chain [][]byte) error {
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return err
	}
	if vm.HashOf(leaf.RawSubjectPublicKeyInfo) != h.key {
		return vm.Refuse(vm.CodeInvalid, "it is for another key than that of this boot")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.chain = chain
	return nil
}

func (h *held) shown() [][]byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.chain
}
