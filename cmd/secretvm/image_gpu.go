package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/secretvm/secretvm/image"
	"github.com/secretvm/secretvm/image/nvidia"
	"github.com/secretvm/secretvm/vm"
)

// gpuFlags choose the image for GPUs, and the driver that goes into it.
type gpuFlags struct {
	spec, driver, sha256 string
}

func (f *gpuFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.spec, "spec", image.Base, "image to build: "+image.Base+", or "+image.GPU+" for NVIDIA GPUs")
	c.Flags().StringVar(&f.driver, "nvidia-driver", "", "archive `FILE` with NVIDIA's driver and its modules, built for the image's kernel (default: built from Debian's packages)")
	c.Flags().StringVar(&f.sha256, "nvidia-driver-sha256", "", "`SHA256` of an archive of yours (default: of the one that this release builds)")
}

// choose fills in the specification and the driver, which it builds unless given.
func (f gpuFlags) choose(c *cobra.Command, o *image.Options, mirrors []string) (err error) {
	switch f.spec {
	case image.Base:
		if f.driver != "" || f.sha256 != "" {
			return &exitError{exitUsage, fmt.Errorf("--nvidia-driver needs --spec %s", image.GPU)}
		}
		return nil
	case image.GPU:
	default:
		return &exitError{exitUsage, fmt.Errorf("--spec %q is not known, want %s or %s", f.spec, image.Base, image.GPU)}
	}
	if o.Source.SpecBytes != nil {
		return &exitError{exitUsage, fmt.Errorf("--spec %s and --dev do not go together", image.GPU)}
	}
	if o.Source, err = image.GPUSource(); err != nil {
		return err
	}
	if f.driver == "" {
		if f.sha256 != "" {
			return &exitError{exitUsage, errors.New("--nvidia-driver-sha256 is of an archive of yours: give it with --nvidia-driver")}
		}
		r, err := nvidia.Recipe()
		if err != nil {
			return err
		}
		built, err := obtain(c, r, "", mirrors, false)
		o.Driver = built.Content
		return err
	}
	if f.sha256 != "" {
		if o.Source.Spec.Driver.SHA256, err = vm.ParseHash(f.sha256); err != nil {
			return &exitError{exitUsage, fmt.Errorf("--nvidia-driver-sha256: %w", err)}
		}
	}
	if o.Driver, err = os.ReadFile(f.driver); err != nil {
		return fmt.Errorf("read NVIDIA's driver: %w", err)
	}
	return nil
}
