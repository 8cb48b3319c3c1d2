package certificate

import "github.com/secretvm/secretvm/guest/attestation"

// What the machine says about its public certificates.
type (
	Status = attestation.Certificates
	Shown  = attestation.Certificate
)

// Status returns what is so now.
func (k *Keeper) Status() *Status {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.status
	for _, e := range k.entries {
		s.Certificates = append(s.Certificates, e.Shown)
	}
	return &s
}
