package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

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

Start the node, and let the chain admit it: HOME/join.flags holds the flags of
kmsd tx committee join. Without evidence only the authority of a development chain
can send that. A node in a machine of this system proves what it runs: start it
with --evidence there, and bring it with kmsd tx committee admit. The next round
then gives the node its share.`,
		Example: `  kmsd join http://127.0.0.1:29380 --home node5 --listen 127.0.0.1:29400 --peer-listen 127.0.0.1:29401
  kmsd start --home node5 &
  kmsd tx committee join --home node1 $(cat node5/join.flags)`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			o.Profile = node.Profile(profile)
			j, err := s.prepare(c.Context(), args[0], digest, o)
			if err != nil {
				return err
			}
			flags := fmt.Sprintf("--relay %s --consensus-key %x --sealing-key %x --api %s --peer %s", j.Relay, j.ConsensusKey, j.SealingKey, j.API, j.Peer)
			if err := os.WriteFile(filepath.Join(s.home, "join.flags"), []byte(flags+"\n"), 0o600); err != nil {
				return fmt.Errorf("write join.flags: %w", err)
			}
			return s.print(c, j, "home       "+string(j.Home), "chain id   "+j.ChainID, "genesis    sha256 "+j.Genesis.String(),
				"admit it   kmsd tx committee join --operator ADDRESS $(cat "+filepath.Join(s.home, "join.flags")+")")
		},
	}
	c.Flags().StringVar(&o.Listen, "listen", node.DefaultListen, "host:port of the node's interface")
	c.Flags().StringVar(&o.PeerListen, "peer-listen", "127.0.0.1:29381", "host:port where other nodes connect")
	c.Flags().StringVar(&profile, "profile", string(node.ProfileWide), "what lies between the nodes: local or wide")
	c.Flags().StringVar(&digest, "genesis-sha256", "", "SHA-256 of the genesis that you expect, hex")
	return c
}

// prepare makes the home of a node of the chain whose node answers at base.
func (s *settings) prepare(ctx context.Context, base, digest string, o node.JoinOptions) (node.Joiner, error) {
	var genesis json.RawMessage
	if err := wire.Call(ctx, http.DefaultClient, http.MethodGet, base, wire.PathGenesis, nil, &genesis); err != nil {
		return node.Joiner{}, err
	}
	if got := vm.HashOf(genesis).String(); digest != "" && got != digest {
		return node.Joiner{}, vm.Refuse(vm.CodeSignature, "the node's genesis is another one than you expect").On("sha256", got, digest)
	}
	var nodes struct {
		Nodes []struct {
			Peer string `json:"peer"`
		} `json:"nodes"`
	}
	if err := wire.Call(ctx, http.DefaultClient, http.MethodGet, base, "/secretvm/committee/v1/nodes", nil, &nodes); err != nil {
		return node.Joiner{}, err
	}
	for _, n := range nodes.Nodes {
		o.Peers = append(o.Peers, n.Peer)
	}
	o.Genesis, o.Loopback = genesis, elsewhere(base)
	return node.Prepare(s.folder(), o)
}

// elsewhere is the host of a URL that is another computer: what that one calls
// 127.0.0.1 is there.
func elsewhere(base string) string {
	u, err := url.Parse(base)
	if err != nil {
		return ""
	}
	host := u.Hostname()
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
		return ""
	}
	return host
}

// seeds are how a node finds its chain when it starts for the first time.
type seeds struct {
	urls       []string
	digest     string
	peerListen string
	profile    string
}

// Between two attempts to reach a chain that is to be joined.
const seedPause = 2 * time.Second

// join makes the home from what the first seed says that answers, unless there is
// a home. It waits for one: a node may be switched on before its chain is.
func (s *settings) join(ctx context.Context, from seeds, listen string, log io.Writer) error {
	if len(from.urls) == 0 || s.folder().Exists() {
		return nil
	}
	if from.digest == "" {
		return usageError{errors.New("--join wants --genesis-sha256: without it the seed decides which chain this node serves with its share")}
	}
	o := node.JoinOptions{Listen: listen, PeerListen: from.peerListen, Profile: node.Profile(from.profile)}
	if o.Listen == "" {
		o.Listen = node.DefaultListen
	}
	for said := ""; ; {
		var failed error
		for _, base := range from.urls {
			j, err := s.prepare(ctx, base, from.digest, o)
			if err == nil {
				fmt.Fprintf(log, "kmsd: made a home for a node of %s\n", j.ChainID)
				return nil
			}
			if vm.CodeOf(err) != vm.CodeUnavailable {
				return err
			}
			failed = errors.Join(failed, err)
		}
		if failed.Error() != said {
			said = failed.Error()
			fmt.Fprintf(log, "kmsd: waiting for the chain: %s\n", said)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(seedPause):
		}
	}
}
