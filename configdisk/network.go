package configdisk

import (
	"fmt"
	"net/netip"
)

// Bounds on a hint about the network.
const (
	maxAddresses = 8
	maxServers   = 3 // as many as the C library's resolver reads
)

// Network is what a network without DHCP cannot tell a machine. Where it has
// addresses, the machine does not ask for any; its name servers go before those
// that DHCP names. The host is believed in this as much as in DHCP: not at all.
type Network struct {
	Addresses []netip.Prefix `json:"addresses,omitempty"` // with the length of the network's prefix, of both families
	Gateways  []netip.Addr   `json:"gateways,omitempty"`  // one of each family at most
	DNS       []netip.Addr   `json:"dns,omitempty"`
}

// Validate reports what no network can have.
func (n Network) Validate() error {
	if len(n.Addresses) > maxAddresses || len(n.Gateways) > 2 || len(n.DNS) > maxServers {
		return fmt.Errorf("hint network has %d addresses, %d gateways and %d name servers, want at most %d, 2 and %d", len(n.Addresses), len(n.Gateways), len(n.DNS), maxAddresses, maxServers)
	}
	for _, a := range n.Addresses {
		if !usable(a.Addr()) || a.Bits() < 8 {
			return fmt.Errorf("hint address is %s, want a unicast address and the length of its network's prefix, such as 192.0.2.7/24", a)
		}
	}
	for i, g := range n.Gateways {
		if !usable(g) && !(g.Is6() && g.IsLinkLocalUnicast() && g.Zone() == "") {
			return fmt.Errorf("hint gateway is %s, want a unicast address", g)
		}
		if i > 0 && n.Gateways[0].Is4() == g.Is4() {
			return fmt.Errorf("hint gateway is %s and %s, want one of each family", n.Gateways[0], g)
		}
		if !n.reaches(g) {
			return fmt.Errorf("hint gateway is %s, which is in the network of none of the addresses", g)
		}
	}
	for _, d := range n.DNS {
		if !usable(d) {
			return fmt.Errorf("hint dns is %s, want a unicast address", d)
		}
	}
	return nil
}

// reaches reports whether a gateway is a neighbour of one of the addresses.
func (n Network) reaches(g netip.Addr) bool {
	for _, a := range n.Addresses {
		if a.Addr().Is4() == g.Is4() && a.Addr() != g && (a.Contains(g) || g.IsLinkLocalUnicast()) {
			return true
		}
	}
	return false
}

// usable reports whether a can be the address of an interface.
func usable(a netip.Addr) bool {
	return a.IsGlobalUnicast() && !a.Is4In6() && a.Zone() == "" && (!a.Is4() || a.As4()[0] < 240 && a.As4()[0] > 0)
}
