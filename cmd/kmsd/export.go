package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/secretvm/secretvm/kms/node"
	"github.com/secretvm/secretvm/kms/signer"
)

func newExportCommand(s *settings) *cobra.Command {
	var height int64
	var output, trusted string
	c := &cobra.Command{
		Use:   "export",
		Short: "Read the chain's state out of a stopped node, or a copy of its folder",
		Long: `export writes the chain's state as a genesis file from which the chain goes on:
all services, images, grants and their history, who shares the key, and the
recovery committee's backups. It holds no secret. The node must not run; a copy
of its folder does as well, of any node of the chain.

Nothing of the copy is believed. The app hash is computed from every entry and
compared with the header that the validators signed, which is followed from the
copy's genesis, or from a block that you know (--trusted-header): without it,
check that genesis is your chain's. What lies after the last header is executed
again. The file is the same for every copy: compare its SHA-256.`,
		Example: `  kmsd export --home node1 --output export.json
  kmsd export --home copy-of-node2 --height 4711 --trusted-header 4700:A1B2…`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			from, err := parseHeader(trusted)
			if err != nil {
				return err
			}
			out, err := node.Export(c.Context(), s.folder(), node.ExportOptions{Height: height, Trusted: from})
			if err != nil {
				return err
			}
			if output == "" {
				if _, err := c.OutOrStdout().Write(out.File); err != nil {
					return fmt.Errorf("write the export: %w", err)
				}
				fmt.Fprintf(c.ErrOrStderr(), "the state of %s after block %d, sha256 %s\n", out.ChainID, out.Height, out.SHA256)
				return nil
			}
			if _, err := os.Stat(output); err == nil {
				return fmt.Errorf("write the export: %s is there already", output)
			}
			if err := signer.WriteFile(output, out.File); err != nil {
				return err
			}
			return s.print(c, out, "chain id   "+out.ChainID, fmt.Sprintf("state      after block %d of %s", out.Height, out.Time.Format("2006-01-02 15:04:05 MST")),
				"app hash   "+out.AppHash, fmt.Sprintf("signed     by %d of %d validators in block %d %s", out.Signed, out.Of, out.Header.Height, out.Header.Hash),
				"sha256     "+out.SHA256.String())
		},
	}
	c.Flags().Int64Var(&height, "height", 0, "after which block; 0 is the newest")
	c.Flags().StringVarP(&output, "output", "o", "", "file to write (default: standard output)")
	c.Flags().StringVar(&trusted, "trusted-header", "", "HEIGHT:HASH of a block that you trust, to begin from instead of genesis")
	return c
}
