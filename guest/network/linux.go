package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// requestTimeout is how long one DHCP request waits for its answer.
const requestTimeout = 2 * time.Second

// Loopback brings up lo.
func Loopback() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find loopback: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("bring up loopback: %w", err)
	}
	return nil
}

// Block makes everything that is sent to prefix fail at once, from this
// machine and from its containers.
func Block(prefix netip.Prefix) error {
	route := &netlink.Route{Dst: ipNet(prefix), Type: unix.RTN_UNREACHABLE}
	if err := netlink.RouteReplace(route); err != nil {
		return fmt.Errorf("block %s: %w", prefix, err)
	}
	return nil
}

// AddLocal makes an address this machine's own, on no network.
func AddLocal(address netip.Addr) error {
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.AddrReplace(lo, &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(address, address.BitLen()))})
	}
	if err != nil {
		return fmt.Errorf("set address %s: %w", address, err)
	}
	return nil
}

// Linux is an Ethernet interface of this machine, asked over DHCPv4.
type Linux struct {
	link  netlink.Link
	lease *nclient4.Lease // nil until the first one
}

// Find waits for the machine's Ethernet interface, whose driver may still be
// loading, and brings it up. With several the first by index is taken.
func Find(ctx context.Context) (*Linux, error) {
	for {
		link, err := firstEthernet()
		if err != nil {
			return nil, err
		}
		if link != nil {
			if err := netlink.LinkSetUp(link); err != nil {
				return nil, fmt.Errorf("bring up %s: %w", link.Attrs().Name, err)
			}
			return &Linux{link: link}, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("this machine has no network interface: %w", ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func firstEthernet() (found netlink.Link, err error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list network interfaces: %w", err)
	}
	for _, l := range links {
		a := l.Attrs()
		if l.Type() == "device" && a.EncapType == "ether" && a.Flags&net.FlagLoopback == 0 && (found == nil || a.Index < found.Attrs().Index) {
			found = l
		}
	}
	return found, nil
}

// Name returns the interface's name, e.g. "eth0".
func (l *Linux) Name() string { return l.link.Attrs().Name }

// Acquire implements Link. A renewal that fails ends in a request for a new
// lease, as RFC 2131 has it.
func (l *Linux) Acquire(ctx context.Context) (Lease, error) {
	client, err := nclient4.New(l.Name(), nclient4.WithTimeout(requestTimeout), nclient4.WithRetry(2))
	if err != nil {
		return Lease{}, fmt.Errorf("DHCP on %s: %w", l.Name(), err)
	}
	defer client.Close()
	var lease *nclient4.Lease
	if l.lease != nil {
		lease, err = client.Renew(ctx, l.lease)
	}
	if l.lease == nil || err != nil {
		lease, err = client.Request(ctx, dhcpv4.WithRequestedOptions(
			dhcpv4.OptionSubnetMask, dhcpv4.OptionRouter, dhcpv4.OptionDomainNameServer))
	}
	if err != nil {
		return Lease{}, fmt.Errorf("DHCP on %s: %w", l.Name(), err)
	}
	read, err := readLease(lease.ACK)
	if err != nil {
		return Lease{}, err
	}
	l.lease = lease
	return read, nil
}

// Apply implements Link.
func (l *Linux) Apply(lease Lease) error {
	old, err := netlink.AddrList(l.link, netlink.FAMILY_V4)
	if err != nil {
		return fmt.Errorf("list addresses of %s: %w", l.Name(), err)
	}
	want := &netlink.Addr{IPNet: ipNet(lease.Address)}
	if err := netlink.AddrReplace(l.link, want); err != nil {
		return fmt.Errorf("set address of %s to %s: %w", l.Name(), lease.Address, err)
	}
	var errs []error
	for i := range old {
		if !old[i].Equal(*want) {
			errs = append(errs, netlink.AddrDel(l.link, &old[i]))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove an old address of %s: %w", l.Name(), err)
	}
	if !lease.Router.IsValid() {
		return nil
	}
	route := &netlink.Route{LinkIndex: l.link.Attrs().Index, Dst: ipNet(netip.PrefixFrom(netip.IPv4Unspecified(), 0)), Gw: lease.Router.AsSlice()}
	if err := netlink.RouteReplace(route); err != nil {
		return fmt.Errorf("set default route to %s: %w", lease.Router, err)
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
