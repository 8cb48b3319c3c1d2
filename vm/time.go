package vm

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// MaxTimeServers bounds Config.Time.
const MaxTimeServers = 8

// CheckTimeServer accepts a DNS name or an address, with a port or without.
func CheckTimeServer(server string) error {
	if a, err := netip.ParseAddr(server); err == nil && a.Zone() == "" {
		return nil
	}
	if a, err := netip.ParseAddrPort(server); err == nil && a.Addr().Zone() == "" && a.Port() != 0 {
		return nil
	}
	host, port, named := strings.Cut(server, ":")
	if n, err := strconv.ParseUint(port, 10, 16); CheckDNSName(host) != nil || named && (err != nil || n == 0) {
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
