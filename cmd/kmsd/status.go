package main

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/secretvm/secretvm/kms/wire"
)

func newStatusCommand(s *settings) *cobra.Command {
	var epoch uint64
	cmd := &cobra.Command{
		Use:     "status",
		Short:   "Show the chain's newest block and its group key",
		Example: "  kmsd status --json\n  kmsd status --epoch 1",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			path := wire.PathStatus
			if c.Flags().Changed("epoch") {
				path = wire.PathStatusOf(epoch)
			}
			var a wire.Status
			if err := s.ask(c.Context(), http.MethodGet, path, nil, &a); err != nil {
				return err
			}
			for _, w := range a.Warnings {
				fmt.Fprintln(c.ErrOrStderr(), "WARNING: "+w)
			}
			lines := []string{
				"chain id   " + a.ChainID, fmt.Sprintf("epoch      %d of %v", a.Epoch, a.Open), "group key  " + a.GroupKey.String(),
				fmt.Sprintf("threshold  %d of %d", a.Threshold, len(a.Nodes)),
				fmt.Sprintf("block      %d %s %s", a.Height, a.BlockHash, a.Time.Format("2006-01-02 15:04:05 MST")),
			}
			if without := unseen(a.Nodes); len(without) > 0 {
				lines = append(lines, "unattested "+strings.Join(without, ", ")+" (until nodes with evidence replace them: kmsd tx committee admit URL --replaces N)")
			}
			if a.Round != "" {
				lines = append(lines, "round      "+a.Round)
			}
			return s.print(c, a, lines...)
		},
	}
	cmd.Flags().Uint64Var(&epoch, "epoch", 0, "of which to show the group key (default: the oldest that is open)")
	return cmd
}

// unseen names the nodes of which the chain has seen no evidence: those of a
// genesis, of a development chain or after a recovery.
func unseen(nodes []wire.Node) (out []string) {
	for _, n := range nodes {
		if !n.Attested {
			out = append(out, fmt.Sprintf("node %d", n.Index))
		}
	}
	return out
}
