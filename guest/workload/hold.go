package workload

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"

	"github.com/secretvm/secretvm/guest/egress"
	"github.com/secretvm/secretvm/guest/gate"
	"github.com/secretvm/secretvm/guest/network"
)

// hold puts the bounds of the workload in place, before its engine starts: what
// containers may send to, what they may have of the machine, and how much.
func (p *part) hold() error {
	if err := Confine(); err != nil {
		return err
	}
	list, restricted, err := p.config.Destinations()
	if err != nil {
		return err
	}
	table, err := egress.Install(p.work.Uplink, list, restricted)
	if err != nil {
		return err
	}
	var resolver netip.Addr
	if restricted {
		names := &egress.Names{List: list, Change: table.Change, Upstream: func() []netip.AddrPort { return network.NameServers(p.work.Resolvers) }}
		if err := p.answerNames(names); err != nil {
			return err
		}
		resolver = egress.Resolver
	}
	policy := gate.Policy{
		Privileged: p.config.Privileged, Restricted: restricted, Sockets: p.work.Sockets,
		Project: p.project.Folder, Disk: filepath.Join(p.work.Data, "folders"), Secrets: p.work.Secrets, GPUs: p.work.GPUs,
	}
	if p.config.ACME != nil {
		policy.TLS = p.config.ACME.Services
	}
	p.engine.Hold(policy, resolver)
	return nil
}

// answerNames answers the name queries of containers.
func (p *part) answerNames(names *egress.Names) error {
	if err := network.AddLocal(egress.Resolver); err != nil {
		return err
	}
	var lc net.ListenConfig
	c, err := lc.ListenPacket(p.live, "udp", netip.AddrPortFrom(egress.Resolver, 53).String())
	if err != nil {
		return fmt.Errorf("answer name queries: %w", err)
	}
	go func() {
		if err := names.Serve(p.live, c); err != nil {
			p.board.note(err.Error())
		}
	}()
	return nil
}
