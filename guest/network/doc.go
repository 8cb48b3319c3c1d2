// Package network brings up a machine's only network interface with what the network
// offers, or the host's hints where there is none that does. All of it comes from the
// host: a false address can make the machine unreachable, never make it trust anybody.
// Therefore only what is needed is taken (addresses, routers, name servers), each
// checked for being one, and no domain, host name, route or time. Addresses of IPv6
// come from routers, by the kernel's rules (Advertised), or from hints.
//
// DHCP is spoken by a process of its own, without rights (package dhcp), which is
// given a socket that hears nothing else. What it says is judged here, as hints are.
package network

import (
	"net/netip"
	"slices"

	"github.com/secretvm/secretvm/configdisk"
)

// Link is an Ethernet interface: see Linux.
type Link interface {
	// Apply gives the interface addresses and routes, in place of what it had.
	Apply(n configdisk.Network) error
}

// Fix gives a link what n says, the first address of IPv4 first, and writes the name
// servers to resolvConf.
func Fix(link Link, n configdisk.Network, resolvConf string) error {
	slices.SortStableFunc(n.Addresses, func(a, b netip.Prefix) int { return a.Addr().BitLen() - b.Addr().BitLen() })
	if err := link.Apply(n); err != nil {
		return err
	}
	return writeResolvConf(resolvConf, n.DNS)
}
