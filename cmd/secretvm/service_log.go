package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/secretvm/secretvm/host/console"
	"github.com/secretvm/secretvm/kms/wire"
)

// followEvery is how often --follow asks.
const followEvery = time.Second

func newServiceLogCommand(s *serviceChoice) *cobra.Command {
	var limit int
	var follow bool
	c := &cobra.Command{
		Use: "log SERVICE", Short: "Show every grant and refusal, what the owner changed, and the images",
		Long: `log shows what became of the requests of the service's machines and what its
owners did, oldest first, after the images: active, pending and past. The ledger
keeps all grants and changes, and the newest 64 different refusals with how often
each was repeated. With --follow and --json each entry is one line.`,
		Example: "  secretvm service log guestbook\n  secretvm service log guestbook --limit 20 --follow --json", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: s.withID(func(ctx context.Context, c *cobra.Command, id string) error {
			if limit < 0 {
				return &exitError{exitUsage, errors.New("--limit: want a number of entries, or 0 for all")}
			}
			var service wire.Service
			if err := s.owner.read(ctx, wire.PathServices+"/"+id, &service); err != nil {
				return err
			}
			seen := map[string]bool{}
			entries, err := s.owner.unseen(ctx, id, seen, limit)
			if err != nil {
				return err
			}
			out := c.OutOrStdout()
			switch {
			case s.json && follow:
				err = writeLines(out, entries)
			case s.json:
				return printJSON(out, map[string]any{"service": id, "images": service.Images, "entries": entries})
			default:
				writeImages(out, service.Images)
				writeLog(out, entries)
			}
			if err != nil || !follow {
				return err
			}
			return s.follow(ctx, out, id, seen)
		}),
	}
	c.Flags().IntVar(&limit, "limit", 0, "only so many of the newest entries; 0: all")
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what is new until interrupted")
	return c
}

// follow prints new entries until ctx ends, which is no error. A node that does
// not answer for a moment is asked again.
func (s *serviceChoice) follow(ctx context.Context, out io.Writer, id string, seen map[string]bool) error {
	for silent := 0; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(followEvery):
		}
		entries, err := s.owner.unseen(ctx, id, seen, 0)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			if silent++; silent > 10 {
				return err
			}
			continue
		}
		silent = 0
		if !s.json {
			writeLog(out, entries)
		} else if err := writeLines(out, entries); err != nil {
			return err
		}
	}
}

// writeLines writes each entry as a line of JSON.
func writeLines(out io.Writer, entries []logEntry) error {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	for _, e := range entries {
		if err := enc.Encode(e); err != nil {
			return err
		}
	}
	return nil
}

// writeLog writes a line for each entry.
func writeLog(out io.Writer, entries []logEntry) {
	for _, e := range entries {
		line := fmt.Sprintf("%s  %-14s", clock(e.Time), e.Kind)
		if e.Image != nil {
			line += fmt.Sprintf(" image %d", *e.Image)
		}
		if e.Instance != "" {
			line += " machine " + e.Instance
		}
		if e.Code != "" {
			line += " [" + e.Code + "]"
		}
		if e.Count > 1 {
			line += fmt.Sprintf(" %d times", e.Count)
		}
		if e.Text != "" {
			line += " " + e.Text
		}
		if e.Field != "" {
			line += ": " + e.Field + " is " + e.Found
			if e.Wanted != "" {
				line += ", want " + e.Wanted
			}
		}
		if e.ActiveAt != nil && e.ActiveAt.After(e.Time) {
			line += " (counts from " + clock(*e.ActiveAt) + ")"
		}
		if e.By != "" {
			line += " by " + e.By
		}
		fmt.Fprintln(out, console.Clean([]byte(line)))
	}
}
