package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/secretvm/secretvm/image"
	"github.com/secretvm/secretvm/image/archive"
	"github.com/secretvm/secretvm/progress"
	"github.com/secretvm/secretvm/vm"
)

// newImageBuildCommand makes the image, or finds it in the cache.
func newImageBuildCommand() *cobra.Command {
	var o image.Options
	var mirrors []string
	var ovmf, snpOVMF, kernel string
	var gpu gpuFlags
	var asJSON, dev bool
	c := &cobra.Command{
		Use:   "build",
		Short: "Build firmware, kernel, initramfs and root file system, byte for byte the same everywhere",
		Long: `Builds the machine image from the locked Debian packages and this source tree,
without root and without any tool of this machine but Go. Packages come from the
mirrors of this machine's apt configuration: --mirror puts further ones before
them, ` + archive.MirrorsVariable + ` (ARCHIVE=URL, separated by blanks) replaces them.

The image stays in the cache and is not built again while nothing it is made
from has changed.

The firmware is Debian's OVMF, taken from its package (--firmware debian), or our
own for TDX and the soft TEE, of which no more is left than direct boot needs:
--firmware own builds it (see secretvm image firmware), --firmware FILE takes a
file that was built elsewhere and must be the same byte for byte.

Debian has no firmware that checks what an SEV-SNP machine boots. Ours does: an image
with our own firmware has it beside the other, and --snp-firmware own puts it beside
Debian's.

The kernel is Debian's with the modules that the guest needs (--kernel generic), or
our own, which has no modules and no more than the guest uses: --kernel minimal
builds it (see secretvm image kernel), --kernel FILE takes a file.

--dev makes an image for development: secretvm exec runs commands in the machine and
its containers, and the console has a shell. It measures other registers than the
image without, and secretvm verify refuses it unless told otherwise.

--spec gpu makes an image for machines with NVIDIA GPUs in confidential mode. NVIDIA's
driver is built for it (see secretvm image driver), or comes from the archive that
--nvidia-driver names.`,
		Example: `  secretvm image build
  secretvm image build --output ./image-v0.1.0
  secretvm image build --firmware own
  secretvm image build --kernel minimal
  secretvm image build --mirror debian=https://mirror.example/debian`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if o.Fresh && o.Output == "" {
				return &exitError{exitUsage, fmt.Errorf("--no-cache needs --output")}
			}
			if ovmf != firmwareDebian {
				if o.Firmware, err = findFirmware(c, vm.TDX, ovmf, mirrors); err != nil {
					return err
				}
			}
			if snpOVMF == "" && ovmf == firmwareOwn {
				snpOVMF = firmwareOwn
			}
			if snpOVMF != "" && snpOVMF != firmwareNone {
				if o.SNP, err = findFirmware(c, vm.SNP, snpOVMF, mirrors); err != nil {
					return err
				}
			}
			if kernel != kernelGeneric {
				if o.Kernel, err = findKernel(c, kernel, mirrors); err != nil {
					return err
				}
			}
			if dev {
				if o.Source, err = image.DevSource(); err != nil {
					return err
				}
			}
			if err := gpu.choose(c, &o, mirrors); err != nil {
				return err
			}
			result, err := buildImage(c, o, mirrors)
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(c.OutOrStdout()).Encode(result)
			}
			return printImage(c, result)
		},
	}
	c.Flags().StringVar(&o.Output, "output", "", "folder to put the image in (default: in the cache)")
	c.Flags().StringVar(&o.Tree, "source", ".", "source tree that the guest's programs are built from")
	c.Flags().StringArrayVar(&mirrors, "mirror", nil, "ARCHIVE=URL to try first; ARCHIVE is debian or debian-security")
	c.Flags().StringVar(&ovmf, "firmware", firmwareDebian, "debian, own, or a prebuilt FILE of our own")
	c.Flags().StringVar(&snpOVMF, "snp-firmware", "", "for SEV-SNP machines: own, a prebuilt FILE of our own, or none (default: own with --firmware own, else none)")
	c.Flags().StringVar(&kernel, "kernel", kernelGeneric, "generic, minimal, or a prebuilt FILE of the minimal one")
	c.Flags().BoolVar(&dev, "dev", false, "make an image for development, whose operator can run commands in the machine; verifiers refuse it")
	gpu.add(c)
	c.Flags().BoolVar(&o.Fresh, "no-cache", false, "build even if the cache has the image")
	c.Flags().BoolVar(&asJSON, "json", false, "print the manifest as JSON")
	return c
}

// buildImage fills in what the command line does not say and builds.
func buildImage(c *cobra.Command, o image.Options, mirrors []string) (image.Result, error) {
	var err error
	if o.Source.SpecBytes == nil { // not chosen
		o.Source, err = image.BaseSource()
	}
	if err != nil {
		return image.Result{}, err
	}
	if o.CacheDir, err = image.CacheDir(); err != nil {
		return image.Result{}, err
	}
	printer := progress.New(c.ErrOrStderr())
	o.Report = printer
	o.Pool, err = image.OpenPool(o.CacheDir, aptFolder, os.Getenv(archive.MirrorsVariable), mirrors, printer.Note)
	if err != nil {
		return image.Result{}, &exitError{exitUsage, err}
	}
	return image.Build(c.Context(), o)
}

// printImage lists what an image consists of.
func printImage(c *cobra.Command, r image.Result) error {
	out := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
	m := r.Manifest
	fmt.Fprintf(out, "%s %s\t%s\n", m.Name, m.Release, r.Dir)
	for _, f := range m.Files() {
		fmt.Fprintf(out, "  %s\t%.1f MB\t%s\n", f.Name, float64(f.Size)/(1<<20), f.SHA256)
	}
	fmt.Fprintf(out, "  root hash\t\t%s\n", m.Verity.RootHash)
	fmt.Fprintf(out, "  manifest\t\t%s\n", filepath.Join(r.Dir, vm.ManifestName))
	return out.Flush()
}
