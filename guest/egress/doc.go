// Package egress holds where a machine's containers may send to: never to the
// addresses at which clouds answer questions about a machine, and, where the
// measured config has a list, nowhere but there.
//
// It is a table of nf_tables that belongs to this package alone, so that what
// Docker does to its own rules cannot open it. Names of the list are resolved by
// this package's own name server (Names), which answers containers for these
// names only, and lets through exactly the addresses that it has answered.
//
// The network, its name servers included, is the host's: the list keeps
// containers from talking to others, never the host from listening. What is
// said is protected by TLS or by nothing.
package egress

import "net/netip"

// Resolver is the address at which Names listens: one that no network has
// (IANA's block for special purposes, RFC 6890), and not of the loopback
// network, which in a container is another one.
var Resolver = netip.MustParseAddr("192.0.0.53")

// Metadata are the addresses at which clouds answer questions about a machine to
// anyone in it, credentials of the host's account included.
var Metadata = []netip.Prefix{
	netip.MustParsePrefix("169.254.0.0/16"),      // most clouds, at .169.254; no link-local address is anybody's business
	netip.MustParsePrefix("100.100.100.200/32"),  // Alibaba
	netip.MustParsePrefix("192.0.0.192/32"),      // Oracle
	netip.MustParsePrefix("fd00:ec2::254/128"),   // Amazon
	netip.MustParsePrefix("fd20:ce::254/128"),    // Google
	netip.MustParsePrefix("fd00:42::42/128"),     // Scaleway
	netip.MustParsePrefix("fe80::a9fe:a9fe/128"), // OpenStack
}

// wireServer answers such questions on two ports (Azure), and is the name
// server on a third, which stays open.
var (
	wireServer      = netip.MustParsePrefix("168.63.129.16/32")
	wireServerPorts = []uint16{80, 32526}
)
