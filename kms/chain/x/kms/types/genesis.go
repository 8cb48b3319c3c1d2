package types

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"

	"github.com/secretvm/secretvm/attest"
	"github.com/secretvm/secretvm/keys"
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

// Parse returns the commitments.
func (g Group) Parse() (keys.Commitments, error) {
	c := make(keys.Commitments, len(g.Commitments))
	for i, b := range g.Commitments {
		k, err := keys.ParsePublicKey(b)
		if err != nil {
			return nil, fmt.Errorf("commitment %d: %w", i, err)
		}
		c[i] = k
	}
	return c, c.Validate()
}

// Node returns the node with a relay account, or false.
func (g Group) Node(relay string) (Node, bool) {
	for _, n := range g.Nodes {
		if n.Relay == relay {
			return n, true
		}
	}
	return Node{}, false
}

// Validate checks that the state can start a chain: trust roots that parse,
// bounds above zero, and nodes whose keys follow from the commitments.
func (g GenesisState) Validate() error {
	if _, err := g.Params.Roots(); err != nil {
		return fmt.Errorf("genesis of x/kms: %w", err)
	}
	p := g.Params
	if p.MaxBlockAge == 0 || p.MaxBlockAgeSeconds == 0 || p.GrantLifetimeSeconds == 0 || p.MaxBlockAge > 100_000 {
		return fmt.Errorf("genesis of x/kms: block age and grant lifetime must be above zero, and at most 100000 blocks")
	}
	c, err := g.Group.Parse()
	if err != nil {
		return fmt.Errorf("genesis of x/kms: group: %w", err)
	}
	if len(g.Group.Nodes) < c.Threshold() || len(g.Group.Nodes) > keys.MaxNodes {
		return fmt.Errorf("genesis of x/kms: %d nodes, want %d to %d", len(g.Group.Nodes), c.Threshold(), keys.MaxNodes)
	}
	relays := make(map[string]bool)
	for i, n := range g.Group.Nodes {
		if n.Index != uint32(i+1) || relays[n.Relay] {
			return fmt.Errorf("genesis of x/kms: node %d has index %d or another's relay account", i+1, n.Index)
		}
		relays[n.Relay] = true
		if err := checkAddress("relay", n.Relay); err != nil {
			return fmt.Errorf("genesis of x/kms: node %d: %w", n.Index, err)
		}
		want, err := c.Public(n.Index)
		if err != nil {
			return fmt.Errorf("genesis of x/kms: %w", err)
		}
		if got, err := keys.ParsePublicKey(n.PublicKey); err != nil || !got.Equal(want) {
			return fmt.Errorf("genesis of x/kms: the public key of node %d does not follow from the commitments", n.Index)
		}
	}
	return nil
}
