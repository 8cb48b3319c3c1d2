package dhcp

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"

	"github.com/secretvm/secretvm/configdisk"
	"github.com/secretvm/secretvm/guest/network"
)

// requestTimeout is how long one request waits for its answer.
const requestTimeout = 2 * time.Second

// Bounds on the time between two requests, whatever the server says.
const (
	minRenew     = time.Minute
	maxRenew     = 12 * time.Hour
	defaultLease = time.Hour
)

// maxNameServers is as many as the C library's resolver reads.
const maxNameServers = 3

// client asks on one interface.
type client struct {
	link  *net.Interface
	open  func() (net.PacketConn, error)
	lease *nclient4.Lease // nil until the first one
}

// acquire asks for a lease, or for the renewal of the one it got before. A renewal
// that fails ends in a request for a new lease, as RFC 2131 has it. renew is when to
// ask again.
func (c *client) acquire(ctx context.Context) (offer network.Offer, renew time.Duration, err error) {
	conn, err := c.open()
	if err != nil {
		return offer, 0, fmt.Errorf("DHCP on %s: %w", c.link.Name, err)
	}
	asker, err := nclient4.NewWithConn(nclient4.NewBroadcastUDPConn(conn, &net.UDPAddr{Port: nclient4.ClientPort}), c.link.HardwareAddr,
		nclient4.WithTimeout(requestTimeout), nclient4.WithRetry(2))
	if err != nil {
		return offer, 0, fmt.Errorf("DHCP on %s: %w", c.link.Name, err)
	}
	defer asker.Close()
	var lease *nclient4.Lease
	if c.lease != nil {
		lease, err = asker.Renew(ctx, c.lease)
	}
	if c.lease == nil || err != nil {
		lease, err = asker.Request(ctx, dhcpv4.WithRequestedOptions(
			dhcpv4.OptionSubnetMask, dhcpv4.OptionRouter, dhcpv4.OptionDomainNameServer))
	}
	if err != nil {
		return offer, 0, fmt.Errorf("DHCP on %s: %w", c.link.Name, err)
	}
	if offer.Network, renew, err = readLease(lease.ACK); err != nil {
		return offer, 0, err
	}
	c.lease = lease
	return offer, renew, nil
}

// readLease takes from an acknowledgement (RFC 2131, options of RFC 2132) what an
// interface needs, and when to renew, or says what is wrong with it.
func readLease(ack *dhcpv4.DHCPv4) (n configdisk.Network, renew time.Duration, err error) {
	address, ok := unicast(ack.YourIPAddr)
	if !ok {
		return n, 0, fmt.Errorf("DHCP gives the address %v, want a unicast IPv4 address", ack.YourIPAddr)
	}
	bits, size := ack.SubnetMask().Size()
	if size != 32 || bits < 8 {
		return n, 0, fmt.Errorf("DHCP gives the network mask %v", ack.SubnetMask())
	}
	own := netip.PrefixFrom(address, bits)
	n.Addresses = []netip.Prefix{own}
	for _, ip := range ack.Router() {
		if router, ok := unicast(ip); ok && own.Contains(router) && router != address {
			n.Gateways = []netip.Addr{router}
			break
		}
	}
	for _, ip := range ack.DNS() {
		if server, ok := unicast(ip); ok && len(n.DNS) < maxNameServers {
			n.DNS = append(n.DNS, server)
		}
	}
	// T1 is half of the lease by default (RFC 2131, 4.4.5).
	return n, min(max(ack.IPAddressLeaseTime(defaultLease)/2, minRenew), maxRenew), nil
}

// unicast reports whether ip can be the address of somebody's interface.
func unicast(ip net.IP) (netip.Addr, bool) {
	a, ok := netip.AddrFromSlice(ip.To4())
	return a, ok && a.IsGlobalUnicast() && a.As4()[0] < 240 && a.As4()[0] > 0
}
