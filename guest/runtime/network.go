package runtime

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/secretvm/secretvm/configdisk"
	"github.com/secretvm/secretvm/guest/network"
)

const (
	resolvConf      = "/run/resolv.conf"
	networkPatience = time.Minute
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
		lease, err := m.address(bounded, link)
		if err != nil {
			return err
		}
		if err := network.Block(metadata); err != nil {
			return err
		}
		if lease.Renew > 0 {
			go network.Keep(ctx, hinted{link, m.hints().DNS}, lease, resolvConf, m.out.Note)
		}
		m.uplink = link.Name()
		m.startDev(ctx)
		remark = link.Name() + " " + lease.String()
		return nil
	})
	return remark, err
}

// address gives the interface the addresses of the host's hints, or without any
// those that the network offers.
func (m *machine) address(ctx context.Context, link *network.Linux) (lease network.Lease, err error) {
	hints := m.hints()
	static := len(hints.Addresses) > 0
	if err := errors.Join(link.Advertised(!static), link.Up()); err != nil {
		return lease, err
	}
	if static {
		lease = network.Static(hints.Addresses, hints.Gateways, hints.DNS)
		return lease, network.Fix(link, lease, resolvConf)
	}
	return network.Up(ctx, hinted{link, hints.DNS}, resolvConf, networkPatience)
}

// hints are the host's about the network.
func (m *machine) hints() (n configdisk.Network) {
	if given := m.handover.archive.Hints.Network; given != nil {
		n = *given
	}
	return n
}

// hinted is a link whose name servers are those of hints, if there are any.
type hinted struct {
	*network.Linux
	dns []netip.Addr
}

// Acquire implements network.Link.
func (h hinted) Acquire(ctx context.Context) (network.Lease, error) {
	lease, err := h.Linux.Acquire(ctx)
	if len(h.dns) > 0 {
		lease.NameServers = h.dns
	}
	return lease, err
}
