package main

import (
	"github.com/spf13/cobra"

	upgradetypes "github.com/cosmos/cosmos-sdk/x/upgrade/types"
)

// newUpgradeCommand plans what all nodes compute otherwise from a height on.
func newUpgradeCommand(s *settings) *cobra.Command {
	var plan upgradetypes.Plan
	c := &cobra.Command{
		Use: "plan NAME", Short: "Have all nodes change to another kmsd at a height, in the place of what is planned",
		Long: `plan tells the chain, as its authority, at which height what its nodes compute
changes. A kmsd that does not know the upgrade stops before that block and shows
--info; one that does not run before it. docs/kms.md says which names there are.`,
		Example: "  kmsd tx upgrade plan v2 --height 120000 --info 'kmsd 0.2'", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			from, err := s.actor()
			if err != nil {
				return err
			}
			plan.Name = args[0]
			return s.act(c, &upgradetypes.MsgSoftwareUpgrade{Authority: from, Plan: plan}, &upgradetypes.MsgSoftwareUpgradeResponse{})
		},
	}
	c.Flags().Int64Var(&plan.Height, "height", 0, "of the first block by the new rules")
	c.Flags().StringVar(&plan.Info, "info", "", "which kmsd has it; shown by those that do not")
	_ = c.MarkFlagRequired("height")
	cancel := &cobra.Command{
		Use: "cancel", Short: "Take the plan away", Example: "  kmsd tx upgrade cancel", Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			from, err := s.actor()
			if err != nil {
				return err
			}
			return s.act(c, &upgradetypes.MsgCancelUpgrade{Authority: from}, &upgradetypes.MsgCancelUpgradeResponse{})
		},
	}
	return group("upgrade", "When the chain changes to another kmsd", c, cancel)
}
