package runtime

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"

	"github.com/secretvm/secretvm/guest/egress"
	"github.com/secretvm/secretvm/guest/gate"
	"github.com/secretvm/secretvm/guest/network"
	"github.com/secretvm/secretvm/guest/workload"
)

// hold puts the bounds of the workload in place, before its engine starts: what
// containers may send to, what they may have of the machine, and how much.
func (m *machine) hold(ctx context.Context) error {
	if err := workload.Confine(); err != nil {
		return err
	}
	config := m.handover.config
	list, restricted, err := config.Destinations()
	if err != nil {
		return err
	}
	table, err := egress.Install(m.uplink, list, restricted)
	if err != nil {
		return err
	}
	var resolver netip.Addr
	if restricted {
		names := &egress.Names{List: list, Change: table.Change, Upstream: func() []netip.AddrPort { return network.NameServers(resolvConf) }}
		if err := m.answerNames(ctx, names); err != nil {
			return err
		}
		resolver = egress.Resolver
	}
	policy := gate.Policy{
		Privileged: config.Privileged, Restricted: restricted, Sockets: m.sockets,
		Project: m.project.Folder, Disk: filepath.Join(dataFolder, "folders"), Secrets: secretsFolder, GPUs: m.gpus != nil,
	}
	if config.ACME != nil {
		policy.TLS = config.ACME.Services
	}
	m.engine.Hold(policy, resolver)
	return nil
}

// answerNames answers the name queries of containers.
func (m *machine) answerNames(ctx context.Context, names *egress.Names) error {
	if err := network.AddLocal(egress.Resolver); err != nil {
		return err
	}
	var lc net.ListenConfig
	c, err := lc.ListenPacket(ctx, "udp", netip.AddrPortFrom(egress.Resolver, 53).String())
	if err != nil {
		return fmt.Errorf("answer name queries: %w", err)
	}
	go func() {
		if err := names.Serve(ctx, c); err != nil {
			m.out.Note(err.Error())
		}
	}()
	return nil
}
