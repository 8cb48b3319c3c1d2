package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/secretvm/secretvm/image/nvidia"
)

// newImageDriverCommand groups what makes NVIDIA's driver for the image.
func newImageDriverCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "driver",
		Short: "Build NVIDIA's driver for the image's kernel from Debian's packages",
	}
	c.AddCommand(newDriverBuildCommand(), newDriverLockCommand())
	return c
}

// newDriverBuildCommand makes the archive, or finds it in the cache.
func newDriverBuildCommand() *cobra.Command {
	var prebuilt string
	var f foundryFlags
	c := &cobra.Command{
		Use:   "build",
		Short: "Build the archive with NVIDIA's driver, byte for byte the same everywhere",
		Long: `Downloads the locked packages of NVIDIA's driver from Debian's contrib, non-free and
non-free-firmware, compiles its open kernel modules for the image's kernel with the
locked compiler, and writes both to an archive. It works in namespaces of its own: no
root, no network, and no tool of this machine takes part. An archive without the
SHA-256 that this release names is an error. It takes 6 minutes of one processor,
204 MB to download and 2 GB of disk; after that the archive is in the cache.

NVIDIA's driver is NVIDIA's: its licence is in the archive (LICENSE), and you accept
it by using what is in there.

Where namespaces are forbidden, --nvidia-driver FILE (or ` + nvidia.Variable + `)
gives an archive that was built elsewhere; it is taken if it has the same SHA-256.`,
		Example: `  secretvm image driver build
  secretvm image driver build -o driver.tar
  secretvm image driver build --no-cache -o again.tar && cmp again.tar driver.tar`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			r, err := nvidia.Recipe()
			if err != nil {
				return err
			}
			return f.run(c, r, prebuilt)
		},
	}
	c.Flags().StringVar(&prebuilt, "nvidia-driver", "", "prebuilt FILE to take instead of building")
	f.add(c, "driver")
	return c
}

// newDriverLockCommand chooses packages and tools anew.
func newDriverLockCommand() *cobra.Command {
	var r relock
	var specFile string
	c := &cobra.Command{
		Use:   "lock",
		Short: "Choose the driver's packages and the toolchain from today's Debian archives",
		Long: `Does for the driver what secretvm image lock does for the image: reads the signed
state of the archives, contrib, non-free and non-free-firmware included, and writes
the versions and SHA-256s of the packages and of the tools that build the modules.
The headers have to be of the image's kernel. Another driver or compiler makes
another archive: image/nvidia/SHA256SUMS has to follow, and with it the identity of
every image for GPUs.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			text, err := os.ReadFile(specFile)
			if err != nil {
				return &exitError{exitUsage, fmt.Errorf("%w; run it in the source tree, or name --spec and --lock", err)}
			}
			spec, err := nvidia.ParseSpec(text)
			if err != nil {
				return err
			}
			r.suites, r.groups = spec.Suites, spec.Groups
			return r.run(c)
		},
	}
	folder := filepath.Join("image", "nvidia")
	c.Flags().StringVar(&specFile, "spec", filepath.Join(folder, "driver.yaml"), "driver specification to resolve")
	r.addFlags(c, filepath.Join(folder, "driver.lock.json"))
	return c
}
