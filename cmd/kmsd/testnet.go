package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/secretvm/secretvm/kms/node"
)

func newTestnetCommand(s *settings) *cobra.Command {
	var o node.TestnetOptions
	var dir string
	var roots []string
	var kept keepers
	c := &cobra.Command{
		Use:   "testnet",
		Short: "Make ready homes of a chain of several nodes on this computer",
		Long: `testnet makes homes DIR/node1 to DIR/nodeN. Start each with
kmsd start --home DIR/nodeI: in the first blocks they make the group key among
themselves, so that nobody ever holds it whole; until then status says
"unavailable". More than two thirds of the nodes must run. The owner of the first
home governs. Nobody checks what these nodes run: for development only.`,
		Example: `  kmsd testnet --nodes 4 --dir kms
  for i in 1 2 3 4; do kmsd start --home kms/node$i & done
  kmsd status --home kms/node1`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			for _, path := range roots {
				b, err := os.ReadFile(path)
				if err != nil {
					return fmt.Errorf("read trust root: %w", err)
				}
				o.TrustRoots = append(o.TrustRoots, string(b))
			}
			o.Recovery = kept.rules()
			made, err := node.Testnet(dir, o)
			if err != nil {
				return err
			}
			shout(c.ErrOrStderr(), node.Made{TrustRoots: made.TrustRoots})
			fmt.Fprintln(c.ErrOrStderr(), "WARNING: NOBODY CHECKS WHAT THESE NODES RUN. FOR DEVELOPMENT ONLY.")
			lines := []string{"chain id   " + made.ChainID, fmt.Sprintf("keys need  %d of %d nodes", made.Threshold, len(made.Homes)), "owner      " + made.Owner}
			for _, h := range made.Homes {
				lines = append(lines, fmt.Sprintf("kmsd start --home %s   # %s", h.Home, h.API))
			}
			return s.print(c, made, lines...)
		},
	}
	c.Flags().IntVar(&o.Nodes, "nodes", 4, "number of nodes")
	c.Flags().StringVar(&dir, "dir", "kms", "folder to make the homes in")
	c.Flags().StringVar(&o.ChainID, "chain-id", "secretvm-local-1", "name of the chain; part of what machines measure")
	c.Flags().StringVar((*string)(&o.Profile), "profile", string(node.ProfileLocal), "what lies between the nodes: local or wide")
	c.Flags().IntVar(&o.FirstPort, "first-port", 29380, "first of two ports of 127.0.0.1 for each node; 0 takes free ones")
	c.Flags().StringArrayVar(&roots, "trust-root", nil, "PEM file of a certificate to accept beside the vendors' roots")
	kept.flags(c)
	return c
}
