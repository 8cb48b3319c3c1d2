package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/secretvm/secretvm/image"
	"github.com/secretvm/secretvm/vm"
)

// gpuFlags choose the image for GPUs, and the driver that goes into it.
type gpuFlags struct {
	spec, driver, sha256 string
}

func (f *gpuFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.spec, "spec", image.Base, "image to build: "+image.Base+", or "+image.GPU+" for NVIDIA GPUs, which needs --nvidia-driver")
	c.Flags().StringVar(&f.driver, "nvidia-driver", "", "archive `FILE` with NVIDIA's driver and its modules, built for the image's kernel (docs/gpu.md)")
	c.Flags().StringVar(&f.sha256, "nvidia-driver-sha256", "", "`SHA256` that the archive must have (default: what the image's specification locks)")
}

// choose fills in the specification and the driver.
func (f gpuFlags) choose(o *image.Options) (err error) {
	switch f.spec {
	case image.Base:
		if f.driver != "" {
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
	if f.sha256 != "" {
		if o.Source.Spec.Driver.SHA256, err = vm.ParseHash(f.sha256); err != nil {
			return &exitError{exitUsage, fmt.Errorf("--nvidia-driver-sha256: %w", err)}
		}
	}
	if f.driver != "" {
		if o.Driver, err = os.ReadFile(f.driver); err != nil {
			return fmt.Errorf("read NVIDIA's driver: %w", err)
		}
	}
	return nil
}
