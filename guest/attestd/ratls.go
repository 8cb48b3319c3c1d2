package attestd

import (
	"context"
	"time"

	"github.com/secretvm/secretvm/guest/attestation"
	"github.com/secretvm/secretvm/vm"
)

// How often the evidence in the certificate is renewed, and tried again when
// the device gave none.
const (
	evidenceLife  = 24 * time.Hour
	evidenceRetry = time.Minute
)

// keepEvidence puts evidence about the key into its certificate (RA-TLS), and
// renews it until ctx ends. Until the first is there, and while the device
// gives none, the certificate goes without: /attestation does not need it.
func (s *Server) keepEvidence(ctx context.Context) {
	for ctx.Err() == nil {
		wait := evidenceLife
		if err := s.renewEvidence(ctx); err != nil {
			s.opt.Log.Error("certificate has no new evidence", "error", err)
			wait = evidenceRetry
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

func (s *Server) renewEvidence(ctx context.Context) error {
	a, err := s.quote(ctx, attestation.Question{For: attestation.ForCertificate})
	if err != nil {
		return err
	}
	claims := attestation.Claims(s.key.SPKI, s.opt.TEE, s.opt.Events)
	s.key.show(vm.CertificateEvidence(a.Evidence.TEE, a.Evidence.Quote, claims))
	return nil
}
