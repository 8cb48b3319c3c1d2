package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

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
				fmt.Fprintln(out, "frozen   there will never be another image")
			}
			writeImages(out, service.Images)
			writePolicies(out, service)
			return nil
		}),
	}
}

// logEntry is one decision of the chain or change by the owner.
type logEntry struct {
	Time     time.Time `json:"time"`
	Height   int64     `json:"height"`
	Kind     string    `json:"kind"`  // granted, refused, or what the owner did
	Count    uint64    `json:"count"` // of the same refusal; else 1
	Instance string    `json:"instance_id,omitempty"`
	Image    *uint64   `json:"image,omitempty"`
	Code     string    `json:"code,omitempty"`
	Text     string    `json:"text,omitempty"`
}

// row is a row of the node's grants, refusals or changes. Numbers of 64 bits are
// texts there.
type row struct {
	Height   int64  `json:"height,string"`
	Time     int64  `json:"time,string"`
	Count    uint64 `json:"count,string"`
	Instance string `json:"vm_uid"`
	Image    uint64 `json:"image,string"`
	TCB      string `json:"tcb_status"`
	TEE      string `json:"tee"`
	Code     string `json:"code"`
	Reason   string `json:"reason"`
	Kind     string `json:"kind"`
	Detail   string `json:"detail"`
	By       string `json:"by"`
}

// page is one page of such rows.
type page struct {
	Grants     []row `json:"grants"`
	Refusals   []row `json:"refusals"`
	Changes    []row `json:"changes"`
	Pagination struct {
		Next string `json:"next_key"` // base64
	} `json:"pagination"`
}

func newServiceLogCommand(s *serviceChoice) *cobra.Command {
	return &cobra.Command{
		Use: "log SERVICE", Short: "Show every grant and refusal, what the owner changed, and the images",
		Long: `log shows what became of the requests of the service's machines and what its
owner did, oldest first. The ledger keeps all grants and changes, and the newest
64 different refusals with how often each was repeated.`,
		Example: "  secretvm service log guestbook --json", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: s.withID(func(ctx context.Context, c *cobra.Command, id string) error {
			var service wire.Service
			if err := s.owner.read(ctx, wire.PathServices+"/"+id, &service); err != nil {
				return err
			}
			entries := []logEntry{}
			for _, kind := range []string{"changes", "grants", "refusals"} {
				found, err := s.owner.rows(ctx, id, kind)
				if err != nil {
					return err
				}
				entries = append(entries, found...)
			}
			slices.SortStableFunc(entries, func(a, b logEntry) int { return cmp.Compare(a.Height, b.Height) })
			if s.json {
				return printJSON(c.OutOrStdout(), map[string]any{"service": id, "images": service.Images, "entries": entries})
			}
			writeImages(c.OutOrStdout(), service.Images)
			writeLog(c.OutOrStdout(), entries)
			return nil
		}),
	}
}

// rows reads all pages of what the chain keeps of one kind.
func (o *owner) rows(ctx context.Context, id, kind string) ([]logEntry, error) {
	var out []logEntry
	for key := ""; ; {
		values := url.Values{"service": {id}, "pagination.limit": {"100"}}
		if key != "" {
			values.Set("pagination.key", key)
		}
		var p page
		if err := o.read(ctx, "/secretvm/kms/v1/"+kind+"?"+values.Encode(), &p); err != nil {
			return nil, err
		}
		for _, r := range slices.Concat(p.Grants, p.Refusals, p.Changes) {
			out = append(out, r.entry(kind))
		}
		if p.Pagination.Next == "" || p.Pagination.Next == key {
			return out, nil
		}
		key = p.Pagination.Next
	}
}

func (r row) entry(kind string) logEntry {
	e := logEntry{Time: time.Unix(r.Time, 0).UTC(), Height: r.Height, Count: max(1, r.Count), Instance: r.Instance}
	switch kind {
	case "grants":
		e.Kind, e.Image, e.Text = "granted", &r.Image, strings.TrimSpace(r.TEE+" "+r.TCB)
	case "refusals":
		e.Kind, e.Code, e.Text = "refused", r.Code, r.Reason
	default:
		e.Kind, e.Text = r.Kind, r.Detail
		if r.Kind == "add-image" || r.Kind == "revoke-image" {
			e.Image = &r.Image
		}
	}
	return e
}

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
		fmt.Fprintln(out, line+" "+console.Clean([]byte(e.Text)))
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
