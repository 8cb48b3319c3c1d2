package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newServiceTransferCommand(s *serviceChoice) *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use: "transfer SERVICE ADDRESS", Short: "Give a service to another account, or to a council", Args: usageArgs(cobra.ExactArgs(2)),
		Long: `transfer takes effect at once. The service's id stays, and so do its delay and
all that was announced: the new owner is bound by them.`,
		Example: "  secretvm service transfer guestbook svm1…",
		RunE: func(c *cobra.Command, args []string) error {
			id, err := s.owner.service(c.Context(), args[0])
			if err != nil {
				return err
			}
			if err := confirm(c, yes, fmt.Sprintf("Give %s to %s? Only they can give it back.", id, args[1])); err != nil {
				return err
			}
			return s.change(c, id+" given to "+args[1], "transfer", "--service", id, "--to", args[1])
		},
	}
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return c
}

func newServiceRollbackCommand(s *serviceChoice) *cobra.Command {
	var yes bool
	var generation uint64
	c := &cobra.Command{
		Use: "accept-rollback SERVICE MACHINE", Short: "Accept that a machine's disk is an older copy, and that what came after is lost", Args: usageArgs(cobra.ExactArgs(2)),
		Long: `accept-rollback lets a machine start again whose disk was put back, on purpose or
not. It halted and said which generation its disk has; with 0 the disk is lost and
is made anew. The ledger keeps for ever that it was accepted.`,
		Example: "  secretvm service accept-rollback guestbook 0123…ef --generation 4",
		RunE: func(c *cobra.Command, args []string) error {
			id, err := s.owner.service(c.Context(), args[0])
			if err != nil {
				return err
			}
			if err := confirm(c, yes, fmt.Sprintf("Accept that machine %s has lost what came after generation %d of its disk?", args[1], generation)); err != nil {
				return err
			}
			return s.change(c, "rollback accepted", "accept-rollback", "--service", id, "--vm-uid", args[1], "--generation", fmt.Sprint(generation))
		},
	}
	c.Flags().Uint64Var(&generation, "generation", 0, "generation that the machine's disk carries; 0: the disk is lost")
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return c
}
