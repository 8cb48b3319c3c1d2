package runtime

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/secretvm/secretvm/compose"
	"github.com/secretvm/secretvm/guest/attestd"
)

// startAttestation makes the machine answer strangers, from before it has any
// key until it stops. Should the server end, it is started again with the same
// key.
func (m *machine) startAttestation(ctx context.Context) (string, error) {
	server, err := attestd.New(attestd.Options{
		Quoter:      m.device,
		GPUs:        m.quotedGPUs(),
		TEE:         m.device.Kind(),
		Measurement: m.now,
		Config:      m.handover.archive.Config,
		Compose:     m.handover.archive.Compose,
		Events:      m.handover.events,
		Status:      m.status,
		Booted:      m.booted,
		Services:    m.services,
		Logs:        m.logs,
		Resources:   m.usage.Samples,
		Signing:     m.signing(),
	})
	if err != nil {
		return "", err
	}
	go m.usage.Run(ctx)
	m.server, m.tlsKey = server, server.TLSKey()
	address := net.JoinHostPort("", strconv.Itoa(compose.AttestationPort))
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return "", fmt.Errorf("listen on %s: %w", address, err)
	}
	go func() {
		for ctx.Err() == nil {
			if err == nil {
				err = server.Serve(ctx, l)
			}
			if ctx.Err() != nil {
				return
			}
			m.out.Note(fmt.Sprintf("attestation service ended, starting it again: %v", err))
			time.Sleep(time.Second)
			l, err = lc.Listen(ctx, "tcp", address)
		}
	}()
	return fmt.Sprintf("key sha256:%.8s", server.TLSKey()), nil
}
