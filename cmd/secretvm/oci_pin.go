package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/spf13/cobra"

	"github.com/secretvm/secretvm/compose"
	"github.com/secretvm/secretvm/vm"
)

func newOCIPinCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "pin COMPOSE",
		Short: "Ask registries for the digests of a compose file's images, and pin them beside it",
		Long: `Asks the registries of all images that the compose file names by a tag what the
tag means now, and writes the digests to ` + compose.PinsName + ` beside the file, which
stays as it is. Machines then run exactly these images, whatever becomes of the
tags; run the command again to follow them. Credentials are Docker's.`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			w, err := compose.Read(args[0])
			if err != nil {
				return &exitError{exitUsage, err}
			}
			pins := vm.Pins{}
			for _, s := range w.Services {
				if s.Image == "" || strings.Contains(s.Image, "@") {
					continue
				}
				if pins[s.Image], err = resolve(c, s.Image); err != nil {
					return fmt.Errorf("service %s: %w", s.Name, err)
				}
			}
			for _, image := range slices.Sorted(maps.Keys(pins)) {
				fmt.Fprintf(c.OutOrStdout(), "%s  sha256:%s\n", image, pins[image])
			}
			return writePins(c, filepath.Dir(w.Path), pins)
		},
	}
}

// resolve asks the registry of an image, as a compose file names it, for the
// digest of what it names.
func resolve(c *cobra.Command, image string) (h vm.Hash, err error) {
	text, err := compose.Interpolate(image)
	if err != nil {
		return h, fmt.Errorf("image %q: %w", image, err)
	}
	reference, err := name.ParseReference(text)
	if err != nil {
		return h, fmt.Errorf("image %q: %w", image, err)
	}
	head, err := remote.Head(reference, remote.WithContext(c.Context()), remote.WithAuthFromKeychain(authn.DefaultKeychain),
		remote.WithRetryBackoff(remote.Backoff{Duration: time.Second, Factor: 2, Steps: 2}))
	if err != nil {
		return h, fmt.Errorf("ask for image %s: %w", text, err)
	}
	if head.Digest.Algorithm != "sha256" {
		return h, fmt.Errorf("image %s has the digest %s, want one by sha256", text, head.Digest)
	}
	return vm.ParseHash(head.Digest.Hex)
}

// writePins writes the digests to the folder of a compose file, beside those of
// other images that it already pins.
func writePins(c *cobra.Command, folder string, pins vm.Pins) error {
	path := filepath.Join(folder, compose.PinsName)
	before, err := os.ReadFile(path)
	all := vm.Pins{}
	if err == nil {
		all, err = compose.ParsePins(before)
	} else if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	maps.Copy(all, pins)
	after, err := compose.EncodePins(all)
	if err != nil || bytes.Equal(before, after) {
		return err
	}
	if err := os.WriteFile(path, after, 0o644); err != nil {
		return fmt.Errorf("write pinned images: %w", err)
	}
	fmt.Fprintf(c.ErrOrStderr(), "updated %s\n", path)
	return nil
}
