package certificate

import (
	"time"

	"github.com/secretvm/secretvm/vm"
)

// Status is what the machine says about its public certificates.
type Status struct {
	Names        []string `json:"names"`
	CA           string   `json:"ca"`                // URL of the directory
	Account      string   `json:"account,omitempty"` // the machine's, once the authority has answered
	CAA          []string `json:"caa,omitempty"`     // records that keep others from getting certificates for the names
	Certificates []Shown  `json:"certificates"`
}

// Shown is one certificate in use.
type Shown struct {
	Of       string    `json:"of"`                 // "workload" or "attestation"
	Public   bool      `json:"public"`             // it is the authority's, not signed by its own key
	Key      vm.Hash   `json:"key,omitzero"`       // SHA-256 of its SubjectPublicKeyInfo (DER); of attestation only while public
	Issuer   string    `json:"issuer,omitempty"`   // common name
	NotAfter time.Time `json:"not_after,omitzero"` // when it lapses
	Error    string    `json:"error,omitempty"`    // why there is no other; names of people and hosts may stand in it
}

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
