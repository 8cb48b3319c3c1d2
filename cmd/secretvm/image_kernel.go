package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/secretvm/secretvm/image/linux"
)

// What --kernel may name beside a file.
const (
	kernelGeneric = "generic"
	kernelMinimal = "minimal"
)

// newImageKernelCommand groups what makes our own kernel.
func newImageKernelCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "kernel",
		Short: "Build our own kernel from Debian's linux-source",
	}
	c.AddCommand(newKernelBuildCommand(), newKernelLockCommand())
	return c
}

// newKernelBuildCommand makes the kernel, or finds it in the cache.
func newKernelBuildCommand() *cobra.Command {
	var prebuilt string
	var f foundryFlags
	c := &cobra.Command{
		Use:   "build",
		Short: "Build the minimal kernel, byte for byte the same everywhere",
		Long: `Builds the kernel from the locked linux-source package of Debian, the locked
compiler and the options of image/linux/minimal.config, in namespaces of its own: no
root, no network, and no tool of this machine takes part. An option that does not
take effect is an error, and so is a kernel without the SHA-256 that this release
names. It takes 14 to 19 minutes of one processor, 247 MB to download and 3 GB of disk;
after that the kernel is in the cache.

Where namespaces are forbidden, --kernel FILE (or ` + linux.Variable + `) gives a file
that was built elsewhere; it is taken if it has the same SHA-256.`,
		Example: `  secretvm image kernel build
  secretvm image kernel build -o vmlinuz-minimal
  secretvm image kernel build --no-cache -o again && cmp again vmlinuz-minimal`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			r, err := linux.Recipe()
			if err != nil {
				return err
			}
			return f.run(c, r, prebuilt)
		},
	}
	c.Flags().StringVar(&prebuilt, "kernel", "", "prebuilt FILE to take instead of building")
	f.add(c, "kernel")
	return c
}

// findKernel returns the minimal kernel: the prebuilt file that from names, or
// for kernelMinimal what a build yields.
func findKernel(c *cobra.Command, from string, mirrors []string) ([]byte, error) {
	r, err := linux.Recipe()
	if err != nil {
		return nil, err
	}
	if from == kernelMinimal {
		from = ""
	}
	built, err := obtain(c, r, from, mirrors, false)
	return built.Content, err
}

// newKernelLockCommand chooses source and tools anew.
func newKernelLockCommand() *cobra.Command {
	var r relock
	var specFile string
	c := &cobra.Command{
		Use:   "lock",
		Short: "Choose the kernel's source and the toolchain from today's Debian archives",
		Long: `Does for the kernel what secretvm image lock does for the image: reads the signed
state of the archives, and writes the versions and SHA-256s of the source package
and of the tools that build it. Another source or compiler makes another kernel:
image/linux/SHA256SUMS has to follow, and with it the identity of every image
that has this kernel.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			text, err := os.ReadFile(specFile)
			if err != nil {
				return &exitError{exitUsage, fmt.Errorf("%w; run it in the source tree, or name --spec and --lock", err)}
			}
			spec, err := linux.ParseSpec(text)
			if err != nil {
				return err
			}
			r.suites, r.groups = spec.Suites, spec.Groups
			return r.run(c)
		},
	}
	folder := filepath.Join("image", "linux")
	c.Flags().StringVar(&specFile, "spec", filepath.Join(folder, "linux.yaml"), "kernel specification to resolve")
	r.addFlags(c, filepath.Join(folder, "linux.lock.json"))
	return c
}
