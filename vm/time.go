package vm

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
)

// MaxTimeServers bounds Config.Time.
const MaxTimeServers = 8

// CheckTimeServer accepts a DNS name or an address, with a port or without.
func CheckTimeServer(server string) error {
	host, port, err := net.SplitHostPort(server)
	if err != nil {
		host, port = server, "123"
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if _, bad := netip.ParseAddr(host); err != nil || n == 0 || bad != nil && CheckDNSName(host) != nil {
		return fmt.Errorf("%.80q is no time server: want a full name in lower case or an address, with or without a port", server)
	}
	return nil
}

func validateTime(servers []string) error {
	if len(servers) > MaxTimeServers || servers != nil && len(servers) == 0 {
		return fmt.Errorf("time names %d servers, want 1 to %d or no such field", len(servers), MaxTimeServers)
	}
	for i, server := range servers {
		if err := CheckTimeServer(server); err != nil {
			return fmt.Errorf("time: %w", err)
		}
		if i > 0 && servers[i-1] >= server {
			return fmt.Errorf("time is %q, want a sorted list without repetition", slices.Clip(servers))
		}
	}
	return nil
}
