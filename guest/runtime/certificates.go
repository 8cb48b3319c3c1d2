package runtime

import (
	"context"
	"path/filepath"
	"time"

	"github.com/secretvm/secretvm/compose"
	"github.com/secretvm/secretvm/guest/attestd"
	"github.com/secretvm/secretvm/guest/certificate"
)

// keepCertificates puts a certificate where containers find it, before the
// first of them starts, and gets and renews those of a public authority beside
// everything else. No boot waits for an authority.
func (m *machine) keepCertificates(ctx context.Context) error {
	config := m.handover.config.ACME
	if config == nil {
		return nil
	}
	k, err := certificate.New(certificate.Options{
		Config: *config, Attestation: m.server, Note: m.out.Note,
		Disk: filepath.Join(dataFolder, "certificates"), Shared: compose.TLSFolder,
	})
	if err != nil {
		return err
	}
	m.certificates.Store(k)
	kept := start(func() error { k.Run(ctx); return nil })
	m.stops.add("stop writing certificates", 5*time.Second, kept.wait)
	return nil
}

// withCertificates adds to a status what is said about them.
func (m *machine) withCertificates(s attestd.Status) attestd.Status {
	if k := m.certificates.Load(); k != nil {
		s.TLS = k.Status()
	}
	return s
}
