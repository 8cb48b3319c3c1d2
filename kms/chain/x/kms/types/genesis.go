package types

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"

	"github.com/secretvm/secretvm/attest"
)

// TrustIntel is the entry of Params.TrustRoots that stands for Intel's
// production SGX root CA.
const TrustIntel = "intel"

// DefaultParams accept Intel's root only.
func DefaultParams() Params {
	return Params{
		TrustRoots: []string{TrustIntel}, MaxBlockAge: 100, MaxBlockAgeSeconds: 900,
		AnchorIntervalSeconds: 5, GrantLifetimeSeconds: 600,
	}
}

// Roots returns the certificates that evidence may be rooted in.
func (p Params) Roots() ([]*x509.Certificate, error) {
	var roots []*x509.Certificate
	for i, entry := range p.TrustRoots {
		if entry == TrustIntel {
			roots = append(roots, attest.IntelRoot())
			continue
		}
		block, rest := pem.Decode([]byte(entry))
		if block == nil || block.Type != "CERTIFICATE" || len(rest) != 0 {
			return nil, fmt.Errorf("trust root %d: neither %q nor the PEM of one certificate", i, TrustIntel)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("trust root %d: %w", i, err)
		}
		if !cert.IsCA {
			return nil, fmt.Errorf("trust root %d: %s is not a certificate authority", i, cert.Subject)
		}
		roots = append(roots, cert)
	}
	if len(roots) == 0 {
		return nil, fmt.Errorf("no trust roots: no evidence could ever be accepted")
	}
	return roots, nil
}

// Validate checks that the state can start a chain: trust roots that parse and
// bounds above zero.
func (g GenesisState) Validate() error {
	if _, err := g.Params.Roots(); err != nil {
		return fmt.Errorf("genesis of x/kms: %w", err)
	}
	p := g.Params
	if p.MaxBlockAge == 0 || p.MaxBlockAgeSeconds == 0 || p.GrantLifetimeSeconds == 0 || p.MaxBlockAge > 100_000 {
		return fmt.Errorf("genesis of x/kms: block age and grant lifetime must be above zero, and at most 100000 blocks")
	}
	return nil
}
