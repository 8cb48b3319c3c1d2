package network

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
)

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

// NameServers reads what Fix wrote: the name servers, and their port. Without any
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
