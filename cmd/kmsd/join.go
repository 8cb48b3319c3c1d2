package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/secretvm/secretvm/kms/node"
	"github.com/secretvm/secretvm/kms/wire"
	"github.com/secretvm/secretvm/vm"
)

func newJoinCommand(s *settings) *cobra.Command {
	var o node.JoinOptions
	var digest, profile string
	c := &cobra.Command{
		Use:   "join URL",
		Short: "Make the home of a node that is to join a chain",
		Long: `join reads the genesis of the chain whose node answers at URL and makes a home
with keys of its own in --home. Genesis decides whose evidence the chain believes:
compare its digest with one that you have from elsewhere (--genesis-sha256).

Start the node, and let the chain admit it: HOME/join.json holds the flags of
kmsd tx committee join. Without evidence only the authority of a development chain
can send that. The next round then gives the node its share.`,
		Example: `  kmsd join http://127.0.0.1:29380 --home node5 --listen 127.0.0.1:29400 --peer-listen 127.0.0.1:29401
  kmsd start --home node5 &
  kmsd tx committee join --home node1 $(cat node5/join.flags)`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			var genesis json.RawMessage
			if err := wire.Call(c.Context(), http.DefaultClient, http.MethodGet, args[0], wire.PathGenesis, nil, &genesis); err != nil {
				return err
			}
			if got := vm.HashOf(genesis).String(); digest != "" && got != digest {
				return vm.Refuse(vm.CodeSignature, "the node's genesis is another one than you expect").On("sha256", got, digest)
			}
			var nodes struct {
				Nodes []struct {
					Peer string `json:"peer"`
				} `json:"nodes"`
			}
			if err := wire.Call(c.Context(), http.DefaultClient, http.MethodGet, args[0], "/secretvm/committee/v1/nodes", nil, &nodes); err != nil {
				return err
			}
			for _, n := range nodes.Nodes {
				o.Peers = append(o.Peers, n.Peer)
			}
			o.Genesis, o.Profile = genesis, node.Profile(profile)
			j, err := node.Prepare(s.folder(), o)
			if err != nil {
				return err
			}
			flags := fmt.Sprintf("--relay %s --consensus-key %x --sealing-key %x --api %s --peer %s", j.Relay, j.ConsensusKey, j.SealingKey, j.API, j.Peer)
			if err := os.WriteFile(filepath.Join(s.home, "join.flags"), []byte(flags+"\n"), 0o600); err != nil {
				return fmt.Errorf("write join.flags: %w", err)
			}
			return s.print(c, j, "home       "+string(j.Home), "chain id   "+j.ChainID, "genesis    sha256 "+vm.HashOf(genesis).String(),
				"admit it   kmsd tx committee join --operator ADDRESS $(cat "+filepath.Join(s.home, "join.flags")+")")
		},
	}
	c.Flags().StringVar(&o.Listen, "listen", node.DefaultListen, "host:port of the node's interface")
	c.Flags().StringVar(&o.PeerListen, "peer-listen", "127.0.0.1:29381", "host:port where other nodes connect")
	c.Flags().StringVar(&profile, "profile", string(node.ProfileWide), "what lies between the nodes: local or wide")
	c.Flags().StringVar(&digest, "genesis-sha256", "", "SHA-256 of the genesis that you expect, hex")
	return c
}
