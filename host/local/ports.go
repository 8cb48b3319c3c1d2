package local

import (
	"fmt"
	"net"
	"net/netip"
	"sort"
	"strconv"

	"github.com/secretvm/secretvm/compose"
	"github.com/secretvm/secretvm/host/qemu"
	"github.com/secretvm/secretvm/vm"
)

// Address is where one published port of the workload can be reached.
type Address struct {
	Service string `json:"service"`
	Port    int    `json:"port"`      // as published inside the machine
	Host    int    `json:"host_port"` // on 127.0.0.1 of this computer
	URL     string `json:"url"`       // http, https or tcp, guessed from the container's port
}

// plan chooses a port of this computer for each that the workload publishes and
// for the attestation service. asked maps published ports to this computer's, 0
// meaning any free one; a port that is not in it keeps its number. Ports that
// cannot be forwarded are named in notes.
func plan(ports []compose.Port, asked map[int]int) (addresses []Address, attestation int, notes []string, err error) {
	taken := map[int]string{}
	choose := func(port int, what string) (int, error) {
		host, explicit := asked[port]
		if !explicit {
			host = port
		}
		if other, is := taken[host]; is && host != 0 {
			return 0, fmt.Errorf("port %d of this computer is wanted by %s and by %s: give one of them another, e.g. --port %d=0", host, other, what, port)
		}
		host, err := reserve(host, port, what)
		taken[host] = what
		return host, err
	}
	published := map[int]bool{vm.AttestationPort: true}
	for _, p := range ports {
		if note := unreachable(p); note != "" {
			notes = append(notes, note)
			continue
		}
		if published[int(p.Host)] {
			continue // the same port on another address of the machine
		}
		published[int(p.Host)] = true
		host, err := choose(int(p.Host), "service "+p.Service)
		if _, explicit := asked[int(p.Host)]; err != nil && p.OfMachine() && !explicit { // no machine waits for it
			notes = append(notes, "no authority can ask this machine for its names: "+err.Error())
			continue
		}
		if err != nil {
			return nil, 0, nil, err
		}
		addresses = append(addresses, Address{Service: p.Service, Port: int(p.Host), Host: host, URL: address(p.Container, host)})
	}
	for _, port := range sorted(asked) {
		if !published[port] {
			return nil, 0, nil, fmt.Errorf("--port %d=%d: the workload publishes no TCP port %d that could be forwarded", port, asked[port], port)
		}
	}
	attestation, err = choose(vm.AttestationPort, "the attestation service")
	return addresses, attestation, notes, err
}

// unreachable says why a published port cannot be forwarded; empty if it can.
func unreachable(p compose.Port) string {
	ip, err := netip.ParseAddr(p.HostIP)
	switch {
	case p.Protocol != "tcp":
		return fmt.Sprintf("service %s: port %d/%s is not forwarded, only TCP is", p.Service, p.Container, p.Protocol)
	case p.Host == 0:
		return fmt.Sprintf("service %s: port %d has no fixed published port, so it is not forwarded (write \"%d:%d\")", p.Service, p.Container, p.Container, p.Container)
	case err == nil && ip.IsLoopback():
		return fmt.Sprintf("service %s: port %d is published on %s of the machine only, so it is not forwarded", p.Service, p.Host, p.HostIP)
	}
	return ""
}

// reserve checks that a TCP port of loopback is free, or finds a free one for 0.
// Another program may still take it before QEMU does; QEMU then says so.
func reserve(host, port int, what string) (int, error) {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(host)))
	if err != nil {
		return 0, fmt.Errorf("port %d, wanted for %s, is not free on this computer: %w (choose another with --port %d=N; 0 takes any free one)", host, what, err, port)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// address guesses from the container's port what speaks there.
func address(container uint16, host int) string {
	scheme := "tcp"
	switch container {
	case 80, 3000, 5000, 8000, 8008, 8080, 8081, 8888, 9000, 9090:
		scheme = "http"
	case 443, 8443, 9443:
		scheme = "https"
	}
	return scheme + "://127.0.0.1:" + strconv.Itoa(host)
}

// forwards returns what QEMU must forward.
func forwards(addresses []Address, attestation int) []qemu.Forward {
	out := []qemu.Forward{{Host: attestation, Guest: vm.AttestationPort}}
	for _, a := range addresses {
		out = append(out, qemu.Forward{Host: a.Host, Guest: a.Port})
	}
	return out
}

func sorted(m map[int]int) []int {
	var keys []int
	for k := range m {
		keys = append(keys, k)
	}
	sort.Ints(keys)
	return keys
}
