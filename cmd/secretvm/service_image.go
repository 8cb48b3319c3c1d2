package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/secretvm/secretvm/compose"
	"github.com/secretvm/secretvm/kms/wire"
	"github.com/secretvm/secretvm/measure"
	"github.com/secretvm/secretvm/vm"
)

func newServiceImageCommand(s *serviceChoice) *cobra.Command {
	c := &cobra.Command{Use: "image", Short: "Which images may have the service's keys"}
	c.AddCommand(newServiceImageAddCommand(s), &cobra.Command{
		Use: "list SERVICE", Short: "List active, pending and revoked images", Args: usageArgs(cobra.ExactArgs(1)),
		Example: "  secretvm service image list guestbook",
		RunE: s.withID(func(ctx context.Context, c *cobra.Command, id string) error {
			var service wire.Service
			if err := s.owner.read(ctx, wire.PathServices+"/"+id, &service); err != nil {
				return err
			}
			if s.json {
				return printJSON(c.OutOrStdout(), service.Images)
			}
			writeImages(c.OutOrStdout(), service.Images)
			return nil
		}),
	}, newServiceImageRevokeCommand(s))
	return c
}

func newServiceImageRevokeCommand(s *serviceChoice) *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use: "revoke SERVICE IMAGE", Short: "Take an image's keys away, at once and for ever", Args: usageArgs(cobra.ExactArgs(2)),
		Example: "  secretvm service image revoke guestbook 0 --reason 'CVE-2026-1234'",
		RunE: func(c *cobra.Command, args []string) error {
			if _, err := strconv.ParseUint(args[1], 10, 64); err != nil {
				return &exitError{exitUsage, fmt.Errorf("%q is no number of an image (see secretvm service image list)", args[1])}
			}
			id, err := s.owner.service(c.Context(), args[0])
			if err != nil {
				return err
			}
			return s.change(c, "image "+args[1]+" revoked", "revoke-image", "--service", id, "--image", args[1], "--reason", literal(reason))
		},
	}
	c.Flags().StringVar(&reason, "reason", "revoked by the owner", "why, for readers of the ledger")
	return c
}

// literal keeps kmsd from taking a text for the name of a file.
func literal(text string) string {
	if strings.HasPrefix(text, "@") {
		return "@" + text
	}
	return text
}

// imageAddition are the flags of image add.
type imageAddition struct {
	compose, image, description string
	shapes                      []string
	yes, dev                    bool
}

func newServiceImageAddCommand(s *serviceChoice) *cobra.Command {
	var f imageAddition
	c := &cobra.Command{
		Use: "add SERVICE", Short: "Let machines that run a compose file on an image have the service's keys",
		Long: `add predicts what machines will measure, from the image's files and the compose
file and nothing else, shows it, asks, and registers it. Machines get keys after
the service's upgrade delay; the first image of a service is active at once.`,
		Example: "  secretvm service image add guestbook --compose docker-compose.yaml --image dist/image",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: s.withID(func(ctx context.Context, c *cobra.Command, id string) error {
			if f.compose == "" || f.image == "" {
				return &exitError{exitUsage, errors.New("--compose FILE and --image FOLDER are needed")}
			}
			return s.addImage(ctx, c, id, f)
		}),
	}
	c.Flags().StringVar(&f.compose, "compose", "", "`FILE` of the workload, or its folder")
	c.Flags().StringVar(&f.image, "image", "", "`FOLDER` of the machine image, or its manifest")
	c.Flags().StringVar(&f.description, "description", "", "for readers of the ledger (default: image and compose digest)")
	c.Flags().StringSliceVar(&f.shapes, "shape", nil, "only machines such as 4x8G (repeatable; default: all common shapes)")
	c.Flags().BoolVar(&f.dev, "dev", false, "register an image for development, whose operator can read the service's keys")
	c.Flags().BoolVar(&f.yes, "yes", false, "do not ask")
	return c
}

func (s *serviceChoice) addImage(ctx context.Context, c *cobra.Command, id string, f imageAddition) error {
	shapes, err := parseShapes(f.shapes)
	if err != nil {
		return &exitError{exitUsage, err}
	}
	workload, err := compose.Read(f.compose)
	if err != nil {
		return err
	}
	manager, err := s.owner.manager(ctx)
	if err != nil {
		return err
	}
	config, err := workload.Config(id, manager, vm.NoInstance)
	if err != nil {
		return err
	}
	im, err := openMeasured(f.image)
	if err != nil {
		return err
	}
	if config.Dev = im.manifest.Dev; config.Dev && !f.dev {
		return vm.Refuse(vm.CodeDevImage, "%s is an image for development: whoever runs such a machine can read the service's keys", f.image).
			Try("register a production image, or say --dev where nothing of worth is kept")
	}
	r, err := recordOf(im, shapes, &config)
	if err != nil {
		return err
	}
	r.Description = f.description
	if r.Description == "" {
		r.Description = fmt.Sprintf("%s %s, compose %.12s", im.manifest.Name, im.manifest.Release, config.ComposeHash)
	}
	if config.Dev {
		r.Description = "FOR DEVELOPMENT: " + r.Description
	}
	text, err := r.Encode()
	if err != nil {
		return err
	}
	var service wire.Service
	if err := s.owner.read(ctx, wire.PathServices+"/"+id, &service); err != nil {
		return err
	}
	writeRecord(c.ErrOrStderr(), id, r, service)
	if err := confirm(c, f.yes, "Let machines with these registers have the keys of "+id+"?"); err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "secretvm-image-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	file := filepath.Join(folder, "record.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return err
	}
	var added struct {
		Service string `json:"service"`
		Image   uint64 `json:"image"`
		Height  int64  `json:"height"`
	}
	if later, err := s.send(c, &added, "tx", "kms", "add-image", id, "--record", file); later || err != nil {
		return err
	}
	return s.say(c, added, "image %d of %s registered in block %d", added.Image, id, added.Height)
}

// writeRecord shows what is about to be registered.
func writeRecord(out io.Writer, id string, r measure.Record, service wire.Service) {
	fmt.Fprintf(out, "service      %s\nimage        %s\nroot hash    %s\ncompose      %s\n", id, r.Description, r.RootHash, r.Workload.Template.ComposeHash)
	if t := r.TDX; t != nil {
		fmt.Fprintf(out, "MRTD         %s\nRTMR0        %s for each kind of machine\nRTMR1        %s\nRTMR2        %s\nRTMR3        %s\n",
			t.MRTD, counted(len(t.Rows), "value"), t.RTMR1, t.RTMR2, r.Workload.RTMR3)
	}
	if r.SNP != nil {
		fmt.Fprintf(out, "SEV-SNP      %s\n", counted(len(r.SNP.Rows), "launch digest"))
	}
	when := "at once"
	if delay := service.Policy.UpgradeDelay; delay > 0 && len(service.Images) > 0 {
		when = fmt.Sprintf("%s after it was registered", span(delay))
	}
	fmt.Fprintf(out, "active       %s\n", when)
}

// counted is a number with what it counts.
func counted(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}
