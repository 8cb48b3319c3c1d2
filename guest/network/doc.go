// Package network brings up a machine's only network interface with what DHCP
// says, or the host's hints where there is none, and keeps its lease. All of it
// comes from the host: a false address can make the machine unreachable, never make
// it trust anybody. Therefore only what is needed is taken (address, router, name
// servers), each checked for being one, and no domain, host name, route or time.
// Addresses of IPv6 come from routers, by the kernel's rules (Advertised), or from
// hints.
package network

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// maxNameServers is as many as the C library's resolver reads.
const maxNameServers = 3

// Lease is what of a DHCP lease, or of hints, is used.
type Lease struct {
	Address     netip.Prefix
	Router      netip.Addr // not valid: none
	NameServers []netip.Addr
	Renew       time.Duration // when to ask again; 0: never

	Others  []netip.Prefix // of hints: further addresses
	Router6 netip.Addr
}

// Static is the lease that hints make of addresses, with gateways of each family.
// The first address of IPv4 is the machine's own, if there is one.
func Static(addresses []netip.Prefix, gateways, nameServers []netip.Addr) (l Lease) {
	l.NameServers = nameServers
	for _, a := range addresses {
		if a.Addr().Is4() && !l.Address.IsValid() {
			l.Address = a
		} else {
			l.Others = append(l.Others, a)
		}
	}
	for _, g := range gateways {
		if g.Is4() {
			l.Router = g
		} else {
			l.Router6 = g
		}
	}
	return l
}

// String names the addresses.
func (l Lease) String() string {
	var names []string
	for _, a := range append([]netip.Prefix{l.Address}, l.Others...) {
		if a.IsValid() {
			names = append(names, a.String())
		}
	}
	return strings.Join(names, " ")
}

// Link is an Ethernet interface as Up needs it: see Linux.
type Link interface {
	// Acquire asks for a lease, or for the renewal of the one it gave before.
	Acquire(ctx context.Context) (Lease, error)
	// Apply gives the interface the lease's address and route, in place of
	// what it had.
	Apply(Lease) error
}

// Up acquires a lease within patience, applies it and writes the name servers
// to resolvConf. A DHCP server that is not there yet is asked again.
func Up(ctx context.Context, link Link, resolvConf string, patience time.Duration) (Lease, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var lease Lease
	var err error
	for {
		if lease, err = link.Acquire(ctx); err == nil {
			break
		}
		select {
		case <-ctx.Done():
			return Lease{}, fmt.Errorf("no address by DHCP within %v: %w", patience, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
	return lease, apply(link, lease, resolvConf)
}

// Fix applies a lease that nobody gave.
func Fix(link Link, lease Lease, resolvConf string) error { return apply(link, lease, resolvConf) }

// Keep renews the lease until ctx ends. A lease that cannot be renewed stays
// in use: giving up the address would only end what works.
func Keep(ctx context.Context, link Link, lease Lease, resolvConf string, note func(string)) {
	const retry = time.Minute
	wait := lease.Renew
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		attempt, cancel := context.WithTimeout(ctx, retry)
		next, err := link.Acquire(attempt)
		cancel()
		if err == nil {
			err = apply(link, next, resolvConf)
		}
		if err != nil {
			note(fmt.Sprintf("renew address: %v", err))
			wait = retry
			continue
		}
		if next.Address != lease.Address {
			note(fmt.Sprintf("address is now %s", next.Address))
		}
		lease, wait = next, next.Renew
	}
}

func apply(link Link, lease Lease, resolvConf string) error {
	if err := link.Apply(lease); err != nil {
		return err
	}
	return writeResolvConf(resolvConf, lease.NameServers)
}
