package vm

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// EgressNone is the only entry of a Config.Egress that lets containers send
// nowhere.
const EgressNone = "none"

// MaxEgress bounds Config.Egress.
const MaxEgress = 64

// Destination is an entry of Config.Egress: where containers may send to, over
// TCP or UDP. Its one text is NAME:PORT, ADDRESS:PORT or ADDRESS/BITS:PORT, IPv6
// in brackets, e.g. "example.org:443", "*.example.org:443", "[2001:db8::/32]:80".
type Destination struct {
	Name   string       // in lower case; "*.example.org" is every name below; empty: Prefix
	Prefix netip.Prefix // of one address or more
	Port   uint16
}

var hostName = Pattern(`^(?:\*\.)?(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?\.)*[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?$`)

// ParseDestination reads the one text of a Destination.
func ParseDestination(text string) (d Destination, err error) {
	i := strings.LastIndexByte(text, ':')
	if i < 0 {
		return d, fmt.Errorf("%q is not host:port", text)
	}
	host, port := text[:i], text[i+1:]
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return d, fmt.Errorf("%q is not host:port: the port is a number from 1 to 65535", text)
	}
	d.Port = uint16(n)
	inner, bracketed := strings.CutPrefix(host, "[")
	if bracketed {
		if inner, bracketed = strings.CutSuffix(inner, "]"); !bracketed {
			return d, fmt.Errorf("%q has an unclosed bracket", text)
		}
	}
	if d.Prefix, err = parsePrefix(inner); err != nil {
		if bracketed || len(host) > 253 || !hostName(host) {
			return d, fmt.Errorf("%q is not host:port: the host is a name in lower case, an address, or a network such as 192.0.2.0/24", text)
		}
		d.Name, d.Prefix = host, netip.Prefix{}
	}
	if s := d.String(); s != text {
		return d, fmt.Errorf("%q has another form than %q, which it means", text, s)
	}
	return d, nil
}

func parsePrefix(s string) (netip.Prefix, error) {
	if strings.Contains(s, "/") {
		p, err := netip.ParsePrefix(s)
		return p.Masked(), err
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" || a.Is4In6() {
		return netip.Prefix{}, errors.New("not an address")
	}
	return netip.PrefixFrom(a, a.BitLen()), nil
}

// String is the one text of d.
func (d Destination) String() string {
	host := d.Name
	if host == "" {
		host = d.Prefix.String()
		if d.Prefix.IsSingleIP() {
			host = d.Prefix.Addr().String()
		}
		if d.Prefix.Addr().Is6() {
			host = "[" + host + "]"
		}
	}
	return host + ":" + strconv.Itoa(int(d.Port))
}

// Covers reports whether d names a host, whose name is in lower case.
func (d Destination) Covers(name string) bool {
	if parent, any := strings.CutPrefix(d.Name, "*"); any {
		return len(name) > len(parent) && strings.HasSuffix(name, parent)
	}
	return d.Name != "" && d.Name == name
}

// Destinations reads c.Egress. restricted is false where containers may send
// anywhere.
func (c Config) Destinations() (list []Destination, restricted bool, err error) {
	if slices.Equal(c.Egress, []string{EgressNone}) {
		return nil, true, nil
	}
	if len(c.Egress) > MaxEgress {
		return nil, true, fmt.Errorf("egress has %d entries, want at most %d", len(c.Egress), MaxEgress)
	}
	for i, text := range c.Egress {
		d, err := ParseDestination(text)
		if err != nil {
			return nil, true, fmt.Errorf("egress: %w", err)
		}
		if i > 0 && c.Egress[i-1] >= text {
			return nil, true, fmt.Errorf("egress is %q, want a sorted list without repetition", c.Egress)
		}
		list = append(list, d)
	}
	return list, len(list) > 0, nil
}
