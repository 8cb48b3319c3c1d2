package runtime

import (
	"context"
	"net/netip"
	"time"

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
		lease, err := network.Up(bounded, link, resolvConf, networkPatience)
		if err != nil {
			return err
		}
		if err := network.Block(metadata); err != nil {
			return err
		}
		go network.Keep(ctx, link, lease, resolvConf, m.out.Note)
		m.uplink = link.Name()
		remark = link.Name() + " " + lease.Address.String()
		return nil
	})
	return remark, err
}
