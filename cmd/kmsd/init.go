package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/secretvm/secretvm/kms/node"
)

func newInitCommand(s *settings) *cobra.Command {
	var o node.InitOptions
	var roots []string
	var kept keepers
	c := &cobra.Command{
		Use:   "init",
		Short: "Make the home of a new chain with this one node",
		Long: `init makes a chain of one node: the group's secret and this node's share of
it, the validator, the account that relays for machines, and a development owner
(keys/owner.json, not encrypted). An existing chain is never touched.

Evidence is accepted when it is rooted in a production root of Intel or AMD.
--trust-root adds another root; the development root of the soft TEE protects NOTHING.`,
		Example: `  kmsd init
  kmsd init --home /tmp/kms --chain-id secretvm-test --trust-root dev-root.pem`,
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
			made, err := node.Init(s.folder(), o)
			if err != nil {
				return err
			}
			shout(c.ErrOrStderr(), made)
			return s.print(c, made,
				"home       "+made.Home, "chain id   "+made.ChainID, "group key  "+made.GroupKey.String(), "owner      "+made.Owner)
		},
	}
	c.Flags().StringVar(&o.ChainID, "chain-id", "secretvm-local-1", "name of the chain; part of what machines measure")
	c.Flags().StringArrayVar(&roots, "trust-root", nil, "PEM file of a certificate to accept beside the vendors' roots")
	kept.flags(c)
	return c
}

// shout says in capitals which evidence a chain takes beside the vendors'.
func shout(w io.Writer, made node.Made) {
	for _, root := range made.TrustRoots {
		if root.Vendor == "" {
			fmt.Fprintf(w, "WARNING: THIS CHAIN GIVES KEYS TO EVIDENCE OF %q, WHICH IS NO VENDOR OF PROCESSORS. FOR DEVELOPMENT ONLY.\n", root.Subject)
		}
	}
}
