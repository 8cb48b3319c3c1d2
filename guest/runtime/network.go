package runtime

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"time"

	"github.com/secretvm/secretvm/configdisk"
	"github.com/secretvm/secretvm/guest/ipc"
	"github.com/secretvm/secretvm/guest/network"
)

const (
	resolvConf      = "/run/resolv.conf"
	networkPatience = time.Minute
	offersDesk      = ipc.Desk + "/" + network.Part // where the client of DHCP tells its offers
)

// metadata is where clouds answer questions about a machine to anyone in it,
// credentials of the host's account included. No container is to ask there.
var metadata = netip.MustParsePrefix("169.254.0.0/16")

func (m *machine) startNetwork(ctx context.Context) (remark string, err error) {
	err = within(ctx, networkPatience, func(bounded context.Context) error {
		if err := network.Loopback(); err != nil {
			return err
		}
		link, err := network.Find(bounded)
		if err != nil {
			return err
		}
		n, err := m.address(ctx, bounded, link)
		if err != nil {
			return err
		}
		if err := network.Block(metadata); err != nil {
			return err
		}
		m.uplink = link.Name()
		m.startDev(ctx)
		remark = link.Name()
		for _, a := range n.Addresses {
			remark += " " + a.String()
		}
		return nil
	})
	return remark, err
}

// startDHCP starts the client of DHCP, so that it is there when the interface is.
// Where the host's hints have addresses there is none.
func (m *machine) startDHCP(ctx context.Context) (err error) {
	if len(m.hints().Addresses) > 0 {
		return nil
	}
	if m.dhcp, err = network.Socket(); err != nil {
		return err
	}
	_, err = ipc.Service{
		Part: network.Part, User: ipc.UserDHCP, Files: []*os.File{m.dhcp}, Spared: true, Settings: network.Settings{Desk: offersDesk},
	}.Keep(ctx, m.commands, m.out.Note)
	return err
}

// address gives the interface the addresses of the host's hints, or without any
// those that the network offers, now and as long as ctx lasts.
func (m *machine) address(ctx, bounded context.Context, link *network.Linux) (n configdisk.Network, err error) {
	n = m.hints()
	static := len(n.Addresses) > 0
	if err := errors.Join(link.Advertised(!static), link.Up()); err != nil {
		return n, err
	}
	if static {
		return n, network.Fix(link, n, resolvConf)
	}
	offers, server := network.NewOffers(link, n.DNS, resolvConf, m.out.Note), ipc.NewServer(nil)
	ipc.Handle(server, network.AskOffer, offers.Take)
	if err := m.answer(ctx, offersDesk, ipc.UserDHCP, server); err != nil {
		return n, err
	}
	if err := link.Bind(m.dhcp); err != nil { // from now on it asks
		return n, err
	}
	return offers.First(bounded, networkPatience)
}

// hints are the host's about the network.
func (m *machine) hints() (n configdisk.Network) {
	if given := m.handover.archive.Hints.Network; given != nil {
		n = *given
	}
	return n
}
