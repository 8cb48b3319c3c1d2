package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/secretvm/secretvm/verification"
	"github.com/secretvm/secretvm/verification/exhibit"
	"github.com/secretvm/secretvm/verification/fetch"
)

func newShowCommand() *cobra.Command {
	var asJSON bool
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "show URL|FILE",
		Short: "Decode evidence, collateral or certificates without judging them",
		Long: `show prints what evidence consists of: every field of the quote or report, the
certificates with their dates, TCB levels, events with what they mean. It reads
what verify reads, and collateral, certificates, revocation lists and boot logs
(CCEL) as well.

Nothing is verified: anyone can write such bytes. Use verify to know whether
they are true, and explain to know why not.`,
		Example: `  secretvm show https://guestbook.example
  secretvm show quote.hex
  secretvm show proof.zip --json | jq .sections[].title`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(c.Context(), timeout)
			defer cancel()
			e, err := exhibitOf(ctx, args[0], c.InOrStdin())
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), e)
			}
			return e.WriteText(c.OutOrStdout(), colours(c.OutOrStdout()))
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	c.Flags().DurationVar(&timeout, "timeout", 30*time.Second, "give up after this long")
	return c
}

// exhibitOf decodes a file, or what the machine at a URL answers.
func exhibitOf(ctx context.Context, target string, stdin io.Reader) (exhibit.Exhibit, error) {
	b, isFile, err := readTarget(target, stdin)
	switch {
	case err != nil:
		return exhibit.Exhibit{}, &exitError{exitUsage, err}
	case isFile:
		e, err := exhibit.Of(b)
		if err != nil {
			return e, &exitError{exitRefused, fmt.Errorf("%s: %w", target, err)}
		}
		return e, nil
	}
	address, err := verification.ParseAddress(target)
	if err != nil {
		return exhibit.Exhibit{}, &exitError{exitUsage, err}
	}
	answer, err := fetch.Any(ctx, address)
	if err != nil {
		return exhibit.Exhibit{}, &exitError{exitUnreachable, err}
	}
	return exhibit.OfAnswer(answer, "answer of "+address.String()), nil
}
