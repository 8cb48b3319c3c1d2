package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/secretvm/secretvm/configdisk"
	"github.com/secretvm/secretvm/step"
)

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

// Linux is an Ethernet interface of this machine.
type Linux struct{ link netlink.Link }

// Find waits for the machine's Ethernet interface, whose driver may still be
// loading. With several the first by index is taken.
func Find(ctx context.Context) (*Linux, error) {
	for {
		link, err := firstEthernet()
		if err != nil {
			return nil, err
		}
		if link != nil {
			return &Linux{link: link}, nil
		}
		if err := step.Pause(ctx, 20*time.Millisecond); err != nil {
			return nil, fmt.Errorf("this machine has no network interface: %w", err)
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

// Up brings the interface up.
func (l *Linux) Up() error {
	if err := netlink.LinkSetUp(l.link); err != nil {
		return fmt.Errorf("bring up %s: %w", l.Name(), err)
	}
	return nil
}

// Name returns the interface's name, e.g. "eth0".
func (l *Linux) Name() string { return l.link.Attrs().Name }

// Apply implements Link.
func (l *Linux) Apply(n configdisk.Network) error {
	old, err := netlink.AddrList(l.link, netlink.FAMILY_V4)
	if err != nil {
		return fmt.Errorf("list addresses of %s: %w", l.Name(), err)
	}
	var want []*netlink.Addr
	for _, prefix := range n.Addresses {
		a := &netlink.Addr{IPNet: ipNet(prefix)}
		if err := netlink.AddrReplace(l.link, a); err != nil {
			return fmt.Errorf("set address of %s to %s: %w", l.Name(), prefix, err)
		}
		want = append(want, a)
	}
	var errs []error
	for i := range old {
		if !slices.ContainsFunc(want, func(a *netlink.Addr) bool { return old[i].Equal(*a) }) {
			errs = append(errs, netlink.AddrDel(l.link, &old[i]))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove an old address of %s: %w", l.Name(), err)
	}
	for _, router := range n.Gateways {
		everything := netip.PrefixFrom(netip.IPv6Unspecified(), 0)
		if router.Is4() {
			everything = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
		}
		route := &netlink.Route{LinkIndex: l.link.Attrs().Index, Dst: ipNet(everything), Gw: router.AsSlice()}
		if err := netlink.RouteReplace(route); err != nil {
			return fmt.Errorf("set default route to %s: %w", router, err)
		}
	}
	return nil
}

// advertised are the settings of an interface (ip-sysctl of the kernel's
// documentation) under which routers may give it an address and a default route,
// also where containers are forwarded for, and nothing else: no other routes, no
// smaller packets, no redirects.
var advertised = []struct{ name, value string }{
	{"accept_redirects", "0"},
	{"accept_source_route", "0"},
	{"accept_ra_rt_info_max_plen", "0"},
	{"accept_ra_mtu", "0"},
	{"use_tempaddr", "0"}, // whoever calls the machine must find it
	{"autoconf", "1"},
	{"accept_ra", "2"},
}

// Advertised has addresses and the router of IPv6 taken from routers'
// advertisements, or from none of them: where hints say both.
func (l *Linux) Advertised(accept bool) error {
	for _, s := range advertised {
		value := s.value
		if s.name == "accept_ra" && !accept {
			value = "0"
		}
		err := os.WriteFile("/proc/sys/net/ipv6/conf/"+l.Name()+"/"+s.name, []byte(value), 0)
		if err != nil && !errors.Is(err, os.ErrNotExist) { // without IPv6 there is nothing to set
			return fmt.Errorf("set %s of %s: %w", s.name, l.Name(), err)
		}
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
