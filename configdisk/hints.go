package configdisk

import (
	"fmt"
	"net"
	"net/url"
	"strconv"

	"github.com/secretvm/secretvm/vm"
)

const (
	maxHintsSize = 16 << 10
	maxKMSURLs   = 32
	maxDevKey    = 1 << 10 // bytes
)

// Hints tells a machine where to look. The host writes it and nothing measures
// it: a false hint can make a boot fail, never make it trust something.
type Hints struct {
	KMS      []string `json:"kms,omitempty"`      // base URLs of KMS nodes
	Registry string   `json:"registry,omitempty"` // host:port that stands in for localhost:5000
	Network  *Network `json:"network,omitempty"`  // where there is no DHCP
	DevKey   string   `json:"dev_key,omitempty"`  // images for development: whose commands to run, as ssh-keygen writes a public key
}

func (h Hints) validate() error {
	if len(h.KMS) > maxKMSURLs {
		return fmt.Errorf("hints name %d KMS nodes, want at most %d", len(h.KMS), maxKMSURLs)
	}
	for _, s := range h.KMS {
		u, err := url.Parse(s)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil {
			return fmt.Errorf("hint kms is %q, want an http or https URL", s)
		}
	}
	if h.Registry != "" {
		if err := checkHostPort(h.Registry); err != nil {
			return fmt.Errorf("hint registry: %w", err)
		}
	}
	if len(h.DevKey) > maxDevKey {
		return fmt.Errorf("hint dev_key has %d bytes, want at most %d", len(h.DevKey), maxDevKey)
	}
	if h.Network != nil {
		return h.Network.Validate()
	}
	return nil
}

func parseHints(b []byte) (Hints, error) {
	var h Hints
	if err := vm.DecodeStrict(b, &h); err != nil {
		return h, fmt.Errorf("decode hints: %w", err)
	}
	return h, h.validate()
}

// checkHostPort wants "host:port" with a port number from 1 to 65535.
func checkHostPort(s string) error {
	host, port, err := net.SplitHostPort(s)
	if err == nil && host != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err == nil && n > 0 {
			return nil
		}
	}
	return fmt.Errorf("%q is not host:port", s)
}
