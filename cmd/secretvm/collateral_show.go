package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/secretvm/secretvm/endorsement"
)

func newCollateralShowCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "show [FOLDER|ZIP]",
		Short: "Say what is in the cache, or in an archive that was fetched",
		Long: `show lists what vendors signed, as far as it is in the cache or in FOLDER or ZIP:
about which platform, which evaluation, from when and until when. What has ended
is marked ✗; a policy may still accept it for a while. Where the early set names
a later evaluation, a TCB recovery has been announced.

Nothing is verified here; verify does that.

Exit codes: 0 shown, 1 something is damaged, 2 wrong usage.`,
		Example: `  secretvm collateral show
  secretvm collateral show collateral.zip
  secretvm collateral show --json | jq '.objects[] | select(.expired)'`,
		Args: usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			path, err := endorsement.CacheFolder()
			if err != nil {
				return err
			}
			if len(args) == 1 {
				path = args[0]
			} else if _, err := os.Stat(path); os.IsNotExist(err) {
				fmt.Fprintln(c.ErrOrStderr(), "the cache is empty: secretvm collateral fetch fills it")
				return nil
			}
			archive, err := endorsement.Open(path)
			if err != nil {
				return &exitError{exitUsage, err}
			}
			inventory := endorsement.Survey(archive, time.Now())
			if err := writeInventory(c.OutOrStdout(), inventory, asJSON); err != nil {
				return err
			}
			if n := len(inventory.Damaged); n > 0 {
				return &exitError{exitRefused, fmt.Errorf("%s: %d entries are damaged; they are not used: fetch them again", path, n)}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func writeInventory(out io.Writer, i endorsement.Inventory, asJSON bool) error {
	if asJSON {
		return printJSON(out, i)
	}
	return i.WriteText(out)
}
