package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/secretvm/secretvm/host/console"
	"github.com/secretvm/secretvm/kms/wire"
)

func newServiceShowCommand(s *serviceChoice) *cobra.Command {
	return &cobra.Command{
		Use: "show SERVICE", Short: "Show a service, its images and its policy", Args: usageArgs(cobra.ExactArgs(1)),
		Example: "  secretvm service show guestbook --json",
		RunE: s.withID(func(ctx context.Context, c *cobra.Command, id string) error {
			var service wire.Service
			if err := s.owner.read(ctx, wire.PathServices+"/"+id, &service); err != nil {
				return err
			}
			out := c.OutOrStdout()
			if s.json {
				return printJSON(out, service)
			}
			fmt.Fprintf(out, "service  %s\nowner    %s\ncreated  %s, block %d\ngrants   %d\n", service.ID, service.Owner, clock(service.Time), service.Height, service.Grants)
			if service.Frozen {
				fmt.Fprintln(out, "frozen   there will never be another image, a looser policy or another environment")
			}
			writeImages(out, service.Images)
			writePolicies(out, service)
			return nil
		}),
	}
}

func writeImages(out io.Writer, images []wire.Image) {
	for _, i := range images {
		state := "active since " + clock(i.ActiveAt)
		switch {
		case i.RevokedAt != nil:
			state = "revoked " + clock(*i.RevokedAt) + ": " + i.Revocation
		case i.State == "pending":
			state = "pending: active at " + clock(i.ActiveAt)
		}
		fmt.Fprintf(out, "image %-3d %s  added %s, %s\n", i.Index, console.Clean([]byte(i.Description)), clock(i.Time), console.Clean([]byte(state)))
	}
	if len(images) == 0 {
		fmt.Fprintln(out, "no image: no machine gets keys")
	}
}
