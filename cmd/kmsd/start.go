package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/secretvm/secretvm/guestapi"
	"github.com/secretvm/secretvm/kms/node"
)

func newStartCommand(s *settings) *cobra.Command {
	o := node.Options{Timing: node.DefaultTiming}
	var level, profiles, evidence string
	var from seeds
	c := &cobra.Command{
		Use:   "start",
		Short: "Run the node until it is interrupted",
		Long: `start runs the node in the foreground. One port serves machines, owners and
readers (--listen); the URL is written to HOME/endpoint, where the other commands
find it. The same port serves REST, described at /openapi.json. gRPC has a port
of its own and is off unless --grpc names one. Neither speaks TLS: to the outside
they belong behind a proxy that does. Once releases can be decided, one line of
JSON is printed. SIGINT and SIGTERM stop in order; a node that is killed loses
nothing.

--join makes the home first, unless there is one, from what a running node of the
chain says; --genesis-sha256 says which chain that must be. --evidence is for a node
in a machine of this system: it lets the machine prove what the node runs, for
kmsd tx committee admit (docs/kms.md, "Nodes that are machines").`,
		Example: `  kmsd start
  kmsd start --listen 127.0.0.1:0 --grpc 127.0.0.1:29390 --log-level info`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			var l slog.Level
			if err := l.UnmarshalText([]byte(level)); err != nil {
				return usageError{fmt.Errorf("--log-level: %w", err)}
			}
			o.Home = s.folder()
			if evidence != "" {
				o.Machine = guestapi.New(evidence)
			}
			if err := s.join(c.Context(), from, o.Listen, c.ErrOrStderr()); err != nil {
				return err
			}
			o.Log = slog.New(slog.NewTextHandler(c.ErrOrStderr(), &slog.HandlerOptions{Level: l}))
			o.Ready = func(r node.Running) { _ = json.NewEncoder(c.OutOrStdout()).Encode(r) }
			if os.Getenv("GOGC") == "" {
				// Most of what a node allocates lives for a block. Collected less
				// often, a busy node saves a tenth of its time, for some 60 MB.
				debug.SetGCPercent(200)
			}
			stop, err := serveProfiles(c.Context(), profiles)
			if err != nil {
				return err
			}
			defer stop()
			return node.Run(c.Context(), o)
		},
	}
	c.Flags().StringVar(&o.Listen, "listen", "", "host:port of the node's interface; port 0 is any free one (default: that of HOME/config/node.json, else "+node.DefaultListen+")")
	c.Flags().StringVar(&o.GRPC, "grpc", "", "host:port of the gRPC interface, without TLS; empty for none")
	c.Flags().StringVar(&profiles, "pprof", "", "host:port of this computer for Go's profiles (/debug/pprof/); empty for none")
	c.Flags().StringSliceVar(&from.urls, "join", nil, "URL of a node of the chain to join, when there is no home yet (repeatable)")
	c.Flags().StringVar(&from.digest, "genesis-sha256", "", "with --join: SHA-256 of the chain's genesis, hex")
	c.Flags().StringVar(&from.peerListen, "peer-listen", "127.0.0.1:29381", "with --join: host:port where other nodes connect")
	c.Flags().StringVar(&from.profile, "profile", string(node.ProfileWide), "with --join: what lies between the nodes, local or wide")
	c.Flags().StringVar(&evidence, "evidence", "", "socket at which the machine proves what this node runs, such as "+guestapi.Socket+"; empty: nothing does")
	c.Flags().StringVar(&level, "log-level", "warn", "debug, info, warn or error")
	c.Flags().DurationVar(&o.Timing.Commit, "commit-interval", o.Timing.Commit, "time between blocks that have transactions")
	c.Flags().DurationVar(&o.Timing.Idle, "idle-interval", o.Timing.Idle, "time between blocks that have none")
	return c
}
