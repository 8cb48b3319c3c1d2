package network

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// Bounds on the time between two requests, whatever the server says.
const (
	minRenew     = time.Minute
	maxRenew     = 12 * time.Hour
	defaultLease = time.Hour
)

// readLease takes from a DHCP acknowledgement (RFC 2131, options of RFC 2132)
// what Lease holds, or says what is wrong with it.
func readLease(ack *dhcpv4.DHCPv4) (l Lease, err error) {
	address, ok := unicast(ack.YourIPAddr)
	if !ok {
		return l, fmt.Errorf("DHCP gives the address %v, want a unicast IPv4 address", ack.YourIPAddr)
	}
	bits, size := ack.SubnetMask().Size()
	if size != 32 || bits < 8 {
		return l, fmt.Errorf("DHCP gives the network mask %v", ack.SubnetMask())
	}
	l.Address = netip.PrefixFrom(address, bits)
	for _, ip := range ack.Router() {
		if router, ok := unicast(ip); ok && l.Address.Contains(router) && router != address {
			l.Router = router
			break
		}
	}
	for _, ip := range ack.DNS() {
		if server, ok := unicast(ip); ok && len(l.NameServers) < maxNameServers {
			l.NameServers = append(l.NameServers, server)
		}
	}
	// T1 is half of the lease by default (RFC 2131, 4.4.5).
	l.Renew = min(max(ack.IPAddressLeaseTime(defaultLease)/2, minRenew), maxRenew)
	return l, nil
}

// unicast reports whether ip can be the address of somebody else's interface.
func unicast(ip net.IP) (netip.Addr, bool) {
	a, ok := netip.AddrFromSlice(ip.To4())
	return a, ok && a.IsGlobalUnicast() && a.As4()[0] < 240
}

// writeResolvConf replaces the resolver's configuration. Without name servers
// the file is there and empty of them: names then fail at once.
func writeResolvConf(path string, servers []netip.Addr) error {
	var b strings.Builder
	b.WriteString("# of the host's choice: answers prove nothing\n")
	for _, s := range servers {
		fmt.Fprintf(&b, "nameserver %s\n", s)
	}
	err := os.WriteFile(path+".new", []byte(b.String()), 0o644)
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return fmt.Errorf("write name servers: %w", err)
	}
	return nil
}

// NameServers reads what Up wrote: the name servers, and their port. Without any
// it returns nothing.
func NameServers(path string) (servers []netip.AddrPort) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(b)) {
		text, is := strings.CutPrefix(strings.TrimSpace(line), "nameserver ")
		if a, err := netip.ParseAddr(text); is && err == nil {
			servers = append(servers, netip.AddrPortFrom(a, 53))
		}
	}
	return servers
}
