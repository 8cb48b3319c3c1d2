package network

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// answers lets pass what a client of DHCP has to hear (RFC 2131, 4.1): datagrams of
// UDP to port 68 that are whole, from the header of IPv4 on (Documentation/networking/filter.rst
// in Linux).
var answers = []unix.SockFilter{
	{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 9},
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.IPPROTO_UDP, Jf: 6},
	{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: 6},
	{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: 0x3fff, Jt: 4}, // a fragment
	{Code: unix.BPF_LDX | unix.BPF_B | unix.BPF_MSH, K: 0},
	{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_IND, K: 2},
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: 68, Jf: 1},
	{Code: unix.BPF_RET | unix.BPF_K, K: 0xffff},
	{Code: unix.BPF_RET | unix.BPF_K, K: 0},
}

// Socket opens the socket of the client of DHCP. Whoever holds it can send what it
// likes, as the host can, and hears answers of DHCP only, once it is bound.
func Socket() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open socket for DHCP: %w", err)
	}
	err = errors.Join(
		unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(answers)), Filter: &answers[0]}),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_LOCK_FILTER, 1))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("filter socket for DHCP: %w", err), unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), "socket for DHCP"), nil
}

// Bind binds the Socket to the interface, which is up.
func (l *Linux) Bind(socket *os.File) error {
	ipv4 := uint16(unix.ETH_P_IP >> 8) // in the order of the network
	if err := unix.Bind(int(socket.Fd()), &unix.SockaddrLinklayer{Protocol: ipv4, Ifindex: l.link.Attrs().Index}); err != nil {
		return fmt.Errorf("bind socket for DHCP to %s: %w", l.Name(), err)
	}
	return nil
}
