// Package dhcp is the client of DHCP (RFC 2131), in the process "guest-service dhcp",
// which has no rights. It asks on a socket that guestd opened, and tells guestd what
// it is offered (package network), which believes none of it.
package dhcp

import (
	"context"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/secretvm/secretvm/guest/ipc"
	"github.com/secretvm/secretvm/guest/network"
	"github.com/secretvm/secretvm/step"
)

const (
	socket  = 3 // the descriptor that was handed down
	soon    = 100 * time.Millisecond
	retry   = time.Minute // once there was a lease
	telling = 10 * time.Second
)

// Run is the process of this package. It returns when it is stopped.
func Run() error {
	var s network.Settings
	ctx, stop, err := ipc.Begin(&s)
	if err != nil {
		return err
	}
	defer stop()
	link, err := bound(ctx)
	if err != nil {
		return err
	}
	guestd := ipc.Dial(s.Desk, nil)
	keep(ctx, &client{link: link, open: open}, func(o network.Offer) error {
		asking, cancel := context.WithTimeout(ctx, telling)
		defer cancel()
		_, err := ipc.Ask[network.Offer, struct{}](asking, guestd, network.AskOffer, o)
		return err
	})
	return nil
}

// bound waits until guestd has bound the socket, and returns the interface.
func bound(ctx context.Context) (*net.Interface, error) {
	for {
		address, err := unix.Getsockname(socket)
		if err != nil {
			return nil, fmt.Errorf("find interface for DHCP: %w", err)
		}
		if link, ok := address.(*unix.SockaddrLinklayer); ok && link.Ifindex > 0 {
			return net.InterfaceByIndex(link.Ifindex)
		}
		if err := step.Pause(ctx, 10*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

// keep asks for a lease, and renews it, until ctx ends. It tells each, and why there
// is none.
func keep(ctx context.Context, c *client, tell func(network.Offer) error) {
	wait := soon // a server that is not there yet is asked again
	for ctx.Err() == nil {
		attempt, cancel := context.WithTimeout(ctx, retry)
		offer, renew, err := c.acquire(attempt)
		cancel()
		if err != nil {
			offer = network.Offer{Error: err.Error()}
		} else {
			wait = retry
		}
		if told := tell(offer); err != nil || told != nil {
			renew = wait
		}
		_ = step.Pause(ctx, renew)
	}
}

// open makes a connection of its own of the socket that was handed down.
func open() (net.PacketConn, error) {
	fd, err := unix.FcntlInt(socket, unix.F_DUPFD_CLOEXEC, 0)
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		return nil, fmt.Errorf("open socket: %w", err)
	}
	return newPackets(os.NewFile(uintptr(fd), "packets"))
}
