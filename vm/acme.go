package vm

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// How a machine shows an authority that a name leads to it.
const (
	ChallengeHTTP = "http-01"     // an answer on port 80 (RFC 8555, 8.3)
	ChallengeTLS  = "tls-alpn-01" // a certificate on port 443 (RFC 8737)
)

// Challenges are those that ACME.Challenge may name.
var Challenges = []string{ChallengeHTTP, ChallengeTLS}

// Bounds on ACME.
const (
	MaxNames = 16
	MaxRoots = 16 << 10 // bytes of PEM
)

// ACME says for which names a machine gets certificates of a public authority,
// and from which (RFC 8555). Nothing that attestation shows depends on it.
type ACME struct {
	Names     []string `json:"names"`           // DNS names, sorted
	CA        string   `json:"ca"`              // URL of the authority's directory
	Roots     string   `json:"roots,omitempty"` // PEM: who may vouch for that URL's server; empty: whom the image trusts
	Email     string   `json:"email,omitempty"` // where the authority may write to
	Challenge string   `json:"challenge"`
	Services  []string `json:"services,omitempty"` // of the compose file, that get a certificate and its key, sorted
}

// Port is where the authority asks the machine, by the rules of the challenge.
func (a ACME) Port() uint16 {
	if a.Challenge == ChallengeTLS {
		return 443
	}
	return 80
}

func (a *ACME) validate() error {
	if a == nil {
		return nil
	}
	if len(a.Names) == 0 || len(a.Names) > MaxNames {
		return fmt.Errorf("acme.names has %d names, want 1 to %d", len(a.Names), MaxNames)
	}
	for i, name := range a.Names {
		if err := CheckDNSName(name); err != nil {
			return fmt.Errorf("acme.names: %w", err)
		}
		if i > 0 && a.Names[i-1] >= name {
			return fmt.Errorf("acme.names is %q, want a sorted list without repetition", a.Names)
		}
	}
	if err := CheckCA(a.CA); err != nil {
		return fmt.Errorf("acme.ca: %w", err)
	}
	switch {
	case a.Email != "" && CheckEmail(a.Email) != nil:
		return fmt.Errorf("acme.email: %w", CheckEmail(a.Email))
	case !slices.Contains(Challenges, a.Challenge):
		return fmt.Errorf("acme.challenge is %q, want one of %q", a.Challenge, Challenges)
	case len(a.Roots) > MaxRoots:
		return fmt.Errorf("acme.roots has %d bytes, want at most %d", len(a.Roots), MaxRoots)
	}
	return validateNames("acme.services", a.Services)
}

var (
	dnsName = Pattern(`^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?$`)
	email   = Pattern(`^[A-Za-z0-9.!#$&*+/=_~-]{1,64}@[a-zA-Z0-9.-]{1,253}$`)
)

// CheckDNSName accepts a full name in lower case, as a certificate holds it.
func CheckDNSName(name string) error {
	switch {
	case strings.HasPrefix(name, "*."):
		return fmt.Errorf("%q stands for many names, which only a change of the DNS could prove: list the names themselves", name)
	case len(name) > 253 || !dnsName(name):
		return fmt.Errorf("%.80q is no full DNS name in lower case, such as app.example.org (others than ASCII as xn--…)", name)
	}
	return nil
}

// CheckCA accepts the URL of an authority's directory.
func CheckCA(ca string) error {
	u, err := url.Parse(ca)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" || len(ca) > 512 {
		return fmt.Errorf("%.80q is no https URL of an ACME directory", ca)
	}
	return nil
}

// CheckEmail accepts one plain address.
func CheckEmail(address string) error {
	if !email(address) {
		return errors.New("want one plain address, such as owner@example.org")
	}
	return nil
}
