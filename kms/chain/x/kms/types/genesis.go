package types

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"

	"github.com/secretvm/secretvm/attest"
	"github.com/secretvm/secretvm/attest/snp"
	"github.com/secretvm/secretvm/keys"
)

// The entries of Params.TrustRoots that stand for vendors' production roots:
// Intel's SGX root CA, and AMD's root keys of the lines that have SEV-SNP.
const (
	TrustIntel = "intel"
	TrustAMD   = "amd"
)

// DefaultParams accept the vendors' production roots only.
func DefaultParams() Params {
	return Params{
		TrustRoots: []string{TrustIntel, TrustAMD}, MaxBlockAge: 100, MaxBlockAgeSeconds: 900,
		AnchorIntervalSeconds: 5, GrantLifetimeSeconds: 600,
	}
}

// Roots returns the certificates that evidence may be rooted in.
func (p Params) Roots() ([]*x509.Certificate, error) {
	var roots []*x509.Certificate
	for i, entry := range p.TrustRoots {
		switch entry {
		case TrustIntel:
			roots = append(roots, attest.IntelRoot())
			continue
		case TrustAMD:
			roots = append(roots, snp.Roots()...)
			continue
		}
		block, rest := pem.Decode([]byte(entry))
		if block == nil || block.Type != "CERTIFICATE" || len(rest) != 0 {
			return nil, fmt.Errorf("trust root %d: neither %q, %q nor the PEM of one certificate", i, TrustIntel, TrustAMD)
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

// Bounds of parameters.
const (
	maxRoots        = 32
	maxAge          = 100_000   // blocks
	maxAgeSeconds   = 24 * 3600 // of a release's block
	maxGrantSeconds = 24 * 3600
)

// Validate checks that a chain can go on under p: trust roots that parse, and
// bounds that are above zero and not absurd.
func (p Params) Validate() error {
	if len(p.TrustRoots) > maxRoots {
		return fmt.Errorf("%d trust roots, want at most %d", len(p.TrustRoots), maxRoots)
	}
	if _, err := p.Roots(); err != nil {
		return err
	}
	for _, b := range []struct {
		name               string
		value, least, most uint64
	}{
		{"max_block_age", p.MaxBlockAge, 1, maxAge},
		{"max_block_age_seconds", p.MaxBlockAgeSeconds, 1, maxAgeSeconds},
		{"anchor_interval_seconds", p.AnchorIntervalSeconds, 0, maxAgeSeconds},
		{"grant_lifetime_seconds", p.GrantLifetimeSeconds, 1, maxGrantSeconds},
	} {
		if b.value < b.least || b.value > b.most {
			return fmt.Errorf("%s is %d, want %d to %d", b.name, b.value, b.least, b.most)
		}
	}
	return nil
}

// Validate checks that the state can start a chain: parameters that make sense,
// and of each service numbers that fit what is there.
func (g GenesisState) Validate() error {
	if err := g.Params.Validate(); err != nil {
		return fmt.Errorf("genesis of x/kms: %w", err)
	}
	for i := 1; i < len(g.Anchors); i++ {
		if g.Anchors[i].Height <= g.Anchors[i-1].Height {
			return fmt.Errorf("genesis of x/kms: anchors are not ascending at height %d", g.Anchors[i].Height)
		}
	}
	last := ""
	for i := range g.Services {
		s := &g.Services[i]
		if s.Service.Id <= last {
			return fmt.Errorf("genesis of x/kms: service %q is not after %q", s.Service.Id, last)
		}
		last = s.Service.Id
		if err := s.validate(); err != nil {
			return fmt.Errorf("genesis of x/kms: service %s: %w", s.Service.Id, err)
		}
	}
	return nil
}

func (s *ServiceState) validate() error {
	if err := (keys.ID{Service: s.Service.Id, Scope: keys.ScopeService, Name: SealedEnv}).Validate(); err != nil {
		return err
	}
	if err := CheckAddress("owner", s.Service.Owner); err != nil {
		return err
	}
	if err := s.Service.Policy.Validate(); err != nil {
		return err
	}
	c := s.Counters
	switch {
	case uint64(len(s.Images)) != c.Images || uint64(len(s.Grants)) != c.Grants || uint64(len(s.Changes)) != c.Changes:
		return fmt.Errorf("%d images, %d grants and %d changes, want %d, %d and %d", len(s.Images), len(s.Grants), len(s.Changes), c.Images, c.Grants, c.Changes)
	case len(s.Refusals) > MaxRefusals:
		return fmt.Errorf("%d refusals, want at most %d", len(s.Refusals), MaxRefusals)
	}
	rows := uint64(0)
	for i := range s.Images {
		image := &s.Images[i]
		rows += image.Image.Platforms
		if image.Image.Index != uint64(i) || image.Image.Platforms != uint64(len(image.Platforms)) {
			return fmt.Errorf("image %d has index %d and %d platforms, want %d", i, image.Image.Index, len(image.Platforms), image.Image.Platforms)
		}
	}
	if rows != c.Platforms {
		return fmt.Errorf("%d platforms, want %d", rows, c.Platforms)
	}
	for i := range s.Changes {
		if s.Changes[i].Seq != uint64(i) {
			return fmt.Errorf("change %d has number %d", i, s.Changes[i].Seq)
		}
	}
	for i := range s.Grants {
		if len(s.Grants[i].Id) != hashSize || s.Grants[i].Service != s.Service.Id {
			return fmt.Errorf("grant %d is of service %q", i, s.Grants[i].Service)
		}
	}
	for i := range s.Refusals {
		if s.Refusals[i].Seq >= c.Refusals {
			return fmt.Errorf("refusal %d has number %d, want below %d", i, s.Refusals[i].Seq, c.Refusals)
		}
	}
	for i := range s.Instances {
		if !uidPattern.MatchString(s.Instances[i].VmUid) {
			return fmt.Errorf("instance %d is %.40q", i, s.Instances[i].VmUid)
		}
	}
	return nil
}
