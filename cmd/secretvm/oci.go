package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/secretvm/secretvm/compose"
	"github.com/secretvm/secretvm/host/registry"
	"github.com/secretvm/secretvm/image"
	"github.com/secretvm/secretvm/image/archive"
	"github.com/secretvm/secretvm/image/oci"
	"github.com/secretvm/secretvm/progress"
)

func newOCICommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "oci",
		Short: "Build and serve the container images that a workload's images.yaml describes",
		Long: `A workload's folder may describe its own container images in images.yaml, beside
the compose file: Go programs of this module, or programs of locked Debian
packages. They are built without a container engine, byte for byte the same
everywhere, and the compose file names them as ` + oci.Host + `/NAME@sha256:….

up does all of this by itself. These commands are for changing the images, and
for running the compose file with plain Docker.`,
	}
	c.AddCommand(newOCIBuildCommand(), newOCIPinCommand(), newOCIServeCommand())
	return c
}

func newOCIBuildCommand() *cobra.Command {
	var mirrors []string
	var update, asJSON bool
	c := &cobra.Command{
		Use:   "build FOLDER",
		Short: "Build the images and print the names by which a compose file pins them",
		Args:  usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			printer := progress.New(c.ErrOrStderr())
			store, err := buildImages(c.Context(), args[0], mirrors, printer.Note)
			if err != nil {
				return err
			}
			if update {
				if err := pinImages(c, store, args[0]); err != nil {
					return err
				}
			}
			if asJSON {
				return json.NewEncoder(c.OutOrStdout()).Encode(store.Images)
			}
			for _, b := range store.Images {
				if _, err := fmt.Fprintf(c.OutOrStdout(), "%s  %.1f MB\n", b.Reference(), float64(b.Size)/1e6); err != nil {
					return err
				}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&update, "update", false, "put the digests into the compose file, and into "+compose.PinsName+" those of images that stand in for others")
	c.Flags().StringArrayVar(&mirrors, "mirror", nil, "ARCHIVE=URL to try first; ARCHIVE is debian or debian-security")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func newOCIServeCommand() *cobra.Command {
	var mirrors []string
	var listen string
	c := &cobra.Command{
		Use:   "serve FOLDER",
		Short: "Build the images and serve them, read-only, so that plain Docker can run the compose file",
		Args:  usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			printer := progress.New(c.ErrOrStderr())
			store, err := buildImages(c.Context(), args[0], mirrors, printer.Note)
			if err != nil {
				return err
			}
			server, err := registry.Start(store.Dir, listen)
			if err != nil {
				return err
			}
			fmt.Fprintf(c.ErrOrStderr(), "serving %d images at 127.0.0.1:%d; ^C stops\n", len(store.Images), server.Port())
			<-c.Context().Done()
			return server.Close()
		},
	}
	c.Flags().StringVar(&listen, "listen", "127.0.0.1:5000", "address of the loopback interface")
	c.Flags().StringArrayVar(&mirrors, "mirror", nil, "ARCHIVE=URL to try first; ARCHIVE is debian or debian-security")
	return c
}

// buildImages builds what images.yaml in folder describes.
func buildImages(ctx context.Context, folder string, mirrors []string, note func(string, ...any)) (*oci.Store, error) {
	locked, err := image.BaseLock()
	if err != nil {
		return nil, err
	}
	cache, err := image.CacheDir()
	if err != nil {
		return nil, err
	}
	packages, err := image.OpenPool(cache, aptFolder, os.Getenv(archive.MirrorsVariable), mirrors, note)
	if err != nil {
		return nil, &exitError{exitUsage, err}
	}
	store, err := oci.Build(ctx, oci.Options{Folder: folder, CacheDir: cache, Lock: locked, Pool: packages, Note: note})
	if err == nil && store == nil {
		return nil, &exitError{exitUsage, fmt.Errorf("%s has no %s", folder, oci.SpecName)}
	}
	return store, err
}

// pinImages puts the digests of store into the compose file of folder, whatever
// digests it has now.
func pinImages(c *cobra.Command, store *oci.Store, folder string) error {
	for _, name := range compose.FileNames {
		path := filepath.Join(folder, name)
		if _, err := os.Stat(path); err != nil {
			continue
		}
		changed, err := store.PinFile(path)
		if err == nil && changed {
			fmt.Fprintf(c.ErrOrStderr(), "updated %s\n", path)
		}
		pins, err2 := store.Pins()
		if err := errors.Join(err, err2); err != nil || len(pins) == 0 {
			return err
		}
		return writePins(c, folder, pins)
	}
	return fmt.Errorf("%s has no compose file", folder)
}
