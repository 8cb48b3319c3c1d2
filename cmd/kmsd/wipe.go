package main

import (
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/secretvm/secretvm/kms/wire"
)

func newWipeCommand(s *settings) *cobra.Command {
	return &cobra.Command{
		Use: "wipe", Short: "Destroy the secrets of a node that has left its chain", Args: usageArgs(cobra.NoArgs),
		Long: `wipe overwrites and removes what --home still could do harm with: shares of
former rounds, and the node's and validator's keys. Former shares are useless one by
one, but a threshold of those who have left could make the key with them, so
whoever leaves wipes. The node must not run, and --node must name one of those that
remain: nothing is destroyed while the chain counts on a share of this home.

keys/owner.json is a person's account and stays. Copies and backups of the folder
are not found: destroy them as well.`,
		Example: "  kmsd wipe --home kms/node1 --node https://node2.example",
		RunE: func(c *cobra.Command, _ []string) error {
			if s.node == "" {
				return usageError{fmt.Errorf("name a node that remains: --node URL")}
			}
			gone, err := s.folder().Wipe(func(epoch uint64) (a wire.Status, err error) {
				err = s.ask(c.Context(), http.MethodGet, wire.PathStatusOf(epoch), nil, &a)
				return a, err
			})
			if err != nil {
				return err
			}
			lines := make([]string, 0, len(gone)+1)
			for _, path := range gone {
				lines = append(lines, "destroyed  "+path)
			}
			return s.print(c, map[string]any{"destroyed": gone}, append(lines, fmt.Sprintf("%d files are gone; copies of them are not", len(gone)))...)
		},
	}
}
