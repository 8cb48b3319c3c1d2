package dhcp

import (
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// packets is a bound socket of packets, from the header of IPv4 on. What is written
// goes to everybody on the network.
type packets struct {
	*os.File
	raw   syscall.RawConn
	index int
}

func newPackets(f *os.File) (net.PacketConn, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	p := &packets{File: f, raw: raw}
	controlled := raw.Control(func(fd uintptr) {
		address, e := unix.Getsockname(int(fd))
		if link, ok := address.(*unix.SockaddrLinklayer); ok {
			p.index = link.Ifindex
		}
		err = e
	})
	if controlled != nil {
		err = controlled
	}
	return p, err
}

// ReadFrom implements net.PacketConn.
func (p *packets) ReadFrom(b []byte) (n int, _ net.Addr, err error) {
	waited := p.raw.Read(func(fd uintptr) bool {
		n, _, err = unix.Recvfrom(int(fd), b, 0)
		return err != unix.EAGAIN //nolint:errorlint // a bare errno
	})
	if waited != nil {
		err = waited
	}
	return max(n, 0), p.LocalAddr(), err
}

// WriteTo implements net.PacketConn, whatever the address.
func (p *packets) WriteTo(b []byte, _ net.Addr) (n int, err error) {
	everybody := &unix.SockaddrLinklayer{
		Protocol: unix.ETH_P_IP >> 8, // in the order of the network
		Ifindex:  p.index, Halen: 6, Addr: [8]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
	}
	waited := p.raw.Write(func(fd uintptr) bool {
		err = unix.Sendto(int(fd), b, 0, everybody)
		return err != unix.EAGAIN //nolint:errorlint // a bare errno
	})
	if waited != nil {
		err = waited
	}
	return len(b), err
}

// LocalAddr implements net.PacketConn.
func (p *packets) LocalAddr() net.Addr { return &net.UDPAddr{} }
