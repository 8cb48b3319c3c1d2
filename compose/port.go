package compose

import (
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/secretvm/secretvm/vm"
)

// maxPorts bounds the ports that one service publishes.
const maxPorts = 1024

// Port is one published port of one service.
type Port struct {
	Service   string
	HostIP    string // address to listen on; empty: every address
	Host      uint16 // 0: Docker chooses a free one
	Container uint16
	Protocol  string // "tcp" or "udp"
}

// readPort reads one element of ports, in the short or the long syntax
// (Compose Specification, "ports"). A range gives one Port each.
func readPort(service string, n *yaml.Node) ([]Port, error) {
	var host, container, ip, protocol string
	var err error
	switch n.Kind {
	case yaml.ScalarNode:
		var text string
		if text, err = Interpolate(n.Value); err == nil {
			ip, host, container, protocol, err = splitShort(text)
		}
	case yaml.MappingNode:
		ip, host, container, protocol, err = readLong(n)
	default:
		return nil, at(n, "a port is neither text nor a mapping")
	}
	if err != nil {
		return nil, at(n, "port: %v", err)
	}
	ports, err := expand(Port{Service: service, HostIP: ip, Protocol: protocol}, host, container)
	if err != nil {
		return nil, at(n, "port: %v", err)
	}
	return ports, nil
}

// splitShort takes [[IP:]HOST:]CONTAINER[/PROTOCOL] apart.
func splitShort(s string) (ip, host, container, protocol string, err error) {
	rest, protocol, _ := strings.Cut(s, "/")
	i := strings.LastIndexByte(rest, ':')
	if i < 0 {
		return "", "", rest, protocol, nil
	}
	rest, container = rest[:i], rest[i+1:]
	i = strings.LastIndexByte(rest, ':')
	if i < 0 {
		return "", rest, container, protocol, nil
	}
	ip, host = rest[:i], rest[i+1:]
	if inner, ok := strings.CutPrefix(ip, "["); ok {
		if ip, ok = strings.CutSuffix(inner, "]"); !ok {
			return "", "", "", "", fmt.Errorf("%q has an unclosed bracket", s)
		}
	} else if strings.Contains(ip, ":") {
		return "", "", "", "", fmt.Errorf("%q: write an IPv6 address in brackets", s)
	}
	return ip, host, container, protocol, nil
}

func readLong(n *yaml.Node) (ip, host, container, protocol string, err error) {
	var ignored string
	text := func(to *string) func(*yaml.Node) error {
		return func(n *yaml.Node) error {
			if err := readText(to)(n); err != nil {
				return err
			}
			*to, err = Interpolate(*to)
			return err
		}
	}
	err = readFields("port", n,
		field{"target", text(&container)}, field{"published", text(&host)},
		field{"host_ip", text(&ip)}, field{"protocol", text(&protocol)},
		field{"mode", text(&ignored)}, field{"name", text(&ignored)}, field{"app_protocol", text(&ignored)})
	return ip, host, container, protocol, err
}

// expand checks the parts and pairs the two ranges off.
func expand(p Port, host, container string) ([]Port, error) {
	if p.Protocol == "" {
		p.Protocol = "tcp"
	}
	if p.Protocol != "tcp" && p.Protocol != "udp" {
		return nil, fmt.Errorf("protocol is %q, want tcp or udp", p.Protocol)
	}
	if p.HostIP != "" {
		if _, err := netip.ParseAddr(p.HostIP); err != nil {
			return nil, fmt.Errorf("%q is not an IP address", p.HostIP)
		}
	}
	first, last, err := parseRange(container)
	if err != nil {
		return nil, err
	}
	hostFirst, hostLast := 0, 0
	if host != "" {
		if hostFirst, hostLast, err = parseRange(host); err != nil {
			return nil, err
		}
		if hostLast-hostFirst != last-first {
			return nil, fmt.Errorf("ranges %s and %s differ in length: name one host port for each container port", host, container)
		}
		if hostFirst <= vm.AttestationPort && vm.AttestationPort <= hostLast && p.Protocol == "tcp" {
			return nil, fmt.Errorf("%d is the port of the attestation service: publish another one", vm.AttestationPort)
		}
	}
	if last-first >= maxPorts {
		return nil, fmt.Errorf("range %s has more than %d ports", container, maxPorts)
	}
	var ports []Port
	for i := 0; i <= last-first; i++ {
		p.Container = uint16(first + i)
		if host != "" {
			p.Host = uint16(hostFirst + i)
		}
		ports = append(ports, p)
	}
	return ports, nil
}

// parseRange reads "80" or "80-90".
func parseRange(s string) (first, last int, err error) {
	a, b, isRange := strings.Cut(s, "-")
	if first, err = parsePort(a); err != nil || !isRange {
		return first, first, err
	}
	if last, err = parsePort(b); err == nil && last < first {
		err = fmt.Errorf("range %q runs backwards", s)
	}
	return first, last, err
}

func parsePort(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%q is not a port number, want 1 to 65535", s)
	}
	return int(n), nil
}

var variable = regexp.MustCompile(`\$(?:\$|\{[A-Za-z_][A-Za-z0-9_]*(?::?-([^{}$]*))?\}|[A-Za-z_][A-Za-z0-9_]*)`)

// Interpolate puts the defaults of variables in their place: a machine starts
// without any environment, so a variable without a default has no value.
func Interpolate(s string) (string, error) {
	var err error
	out := variable.ReplaceAllStringFunc(s, func(v string) string {
		if v == "$$" {
			return "$"
		}
		if !strings.Contains(v, "-") {
			err = fmt.Errorf("%s has no value in the machine: write a default, as in ${PORT:-8080}", v)
		}
		return variable.FindStringSubmatch(v)[1]
	})
	return out, err
}
