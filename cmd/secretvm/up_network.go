package main

import (
	"fmt"
	"net/netip"

	"github.com/spf13/cobra"

	"github.com/secretvm/secretvm/configdisk"
)

// networkFlags are hints for machines in networks without DHCP.
type networkFlags struct{ addresses, gateways, dns []string }

func (f *networkFlags) register(c *cobra.Command) {
	flags := c.Flags()
	flags.StringArrayVar(&f.addresses, "address", nil, "`ADDRESS/BITS` of the machine, instead of DHCP (repeatable)")
	flags.StringArrayVar(&f.gateways, "gateway", nil, "`ADDRESS` of its router (repeatable: one of IPv4, one of IPv6)")
	flags.StringArrayVar(&f.dns, "dns", nil, "`ADDRESS` of a name server, instead of those of DHCP (repeatable)")
}

// hints are nil where no flag was given.
func (f networkFlags) hints() (*configdisk.Network, error) {
	if len(f.addresses)+len(f.gateways)+len(f.dns) == 0 {
		return nil, nil
	}
	var n configdisk.Network
	var err error
	if n.Addresses, err = parseAll("address", f.addresses, netip.ParsePrefix); err != nil {
		return nil, err
	}
	if n.Gateways, err = parseAll("gateway", f.gateways, netip.ParseAddr); err != nil {
		return nil, err
	}
	if n.DNS, err = parseAll("dns", f.dns, netip.ParseAddr); err != nil {
		return nil, err
	}
	return &n, n.Validate()
}

func parseAll[T any](flag string, texts []string, parse func(string) (T, error)) (out []T, err error) {
	for _, text := range texts {
		v, err := parse(text)
		if err != nil {
			return nil, fmt.Errorf("--%s %q: %w", flag, text, err)
		}
		out = append(out, v)
	}
	return out, nil
}
