package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/secretvm/secretvm/image"
	"github.com/secretvm/secretvm/image/archive"
	"github.com/secretvm/secretvm/image/firmware"
	"github.com/secretvm/secretvm/progress"
	"github.com/secretvm/secretvm/vm"
)

// What --firmware may name beside a file.
const (
	firmwareDebian = "debian"
	firmwareOwn    = "own"
	firmwareNone   = "none" // of --snp-firmware
)

// newImageFirmwareCommand groups what makes our own firmware.
func newImageFirmwareCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "firmware",
		Short: "Build our own OVMF from Debian's edk2 source",
	}
	c.AddCommand(newFirmwareBuildCommand(), newFirmwareLockCommand(), newFirmwareEnterCommand())
	return c
}

// newFirmwareBuildCommand makes a firmware image, or finds it in the cache.
func newFirmwareBuildCommand() *cobra.Command {
	var tee, output, prebuilt string
	var mirrors []string
	var fresh, asJSON bool
	c := &cobra.Command{
		Use:   "build",
		Short: "Build the firmware for TDX or SEV-SNP, byte for byte the same everywhere",
		Long: `Builds OVMF from the locked source of Debian's edk2 with the locked compiler and
tools, in namespaces of its own: no root, no network, and no tool of this machine
takes part. What comes out must have the SHA-256 that this release names; anything
else is an error. It takes 2 to 8 minutes; after that it is in the cache.

--tee tdx is for Intel TDX and the soft TEE, --tee snp for AMD SEV-SNP.

Where namespaces are forbidden, --firmware FILE (or ` + firmware.Variable + `) gives a file
that was built elsewhere; it is taken if it has the same SHA-256. The variable may
name both files, with a colon between.`,
		Example: `  secretvm image firmware build
  secretvm image firmware build --tee snp -o secretvm-snp.fd
  secretvm image firmware build --no-cache -o again.fd && cmp again.fd secretvm-tdx.fd`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			if tee != string(vm.TDX) && tee != string(vm.SNP) {
				return &exitError{exitUsage, fmt.Errorf("--tee is %q, want tdx (for the soft TEE too) or snp", tee)}
			}
			if prebuilt == "" {
				prebuilt = firmwareOwn
			}
			built, err := findFirmware(c, vm.TEE(tee), prebuilt, mirrors, fresh)
			if err != nil {
				return err
			}
			if output != "" {
				if err := os.WriteFile(output, built.Image, 0o644); err != nil {
					return fmt.Errorf("write firmware: %w", err)
				}
			}
			if asJSON {
				return json.NewEncoder(c.OutOrStdout()).Encode(built)
			}
			fmt.Fprintf(c.OutOrStdout(), "%s  secretvm-%s.fd\n", built.SHA256, built.TEE)
			return nil
		},
	}
	c.Flags().StringVar(&tee, "tee", string(vm.TDX), "tdx or snp")
	c.Flags().StringVarP(&output, "output", "o", "", "file to write the firmware to (default: it stays in the cache)")
	c.Flags().StringVar(&prebuilt, "firmware", "", "prebuilt FILE to take instead of building")
	c.Flags().StringArrayVar(&mirrors, "mirror", nil, "ARCHIVE=URL to try first; ARCHIVE is debian or debian-security")
	c.Flags().BoolVar(&fresh, "no-cache", false, "build even if the cache has it")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// findFirmware returns our image for a TEE: the prebuilt file that from or the
// environment names, or for firmwareOwn what a build yields.
func findFirmware(c *cobra.Command, tee vm.TEE, from string, mirrors []string, fresh bool) (firmware.Result, error) {
	platform, err := firmware.For(tee)
	if err != nil {
		return firmware.Result{}, err
	}
	prebuilt := []string{from}
	if from == firmwareOwn {
		prebuilt = filepath.SplitList(os.Getenv(firmware.Variable))
	}
	for i, file := range prebuilt {
		content, err := firmware.Prebuilt(file, platform)
		if err == nil || i == len(prebuilt)-1 {
			return firmware.Result{TEE: platform.TEE, SHA256: platform.SHA256, Image: content}, err
		}
	}
	o := firmware.Options{Platform: platform, Fresh: fresh}
	if o.CacheDir, err = image.CacheDir(); err != nil {
		return firmware.Result{}, err
	}
	self, err := os.Executable()
	if err != nil {
		return firmware.Result{}, fmt.Errorf("find this program: %w", err)
	}
	o.Enter = []string{self, "image", "firmware", "enter"}
	printer := progress.New(c.ErrOrStderr())
	o.Report, o.Note = printer, printer.Note
	if o.Pool, err = image.OpenPool(o.CacheDir, aptFolder, os.Getenv(archive.MirrorsVariable), mirrors, printer.Note); err != nil {
		return firmware.Result{}, &exitError{exitUsage, err}
	}
	return firmware.Build(c.Context(), o)
}

// newFirmwareEnterCommand is what the build runs in its namespaces first.
func newFirmwareEnterCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "enter TOOLCHAIN ROOT PLATFORM JOBS",
		Short:  "Run a build in its root (started by image firmware build)",
		Hidden: true,
		Args:   usageArgs(cobra.ExactArgs(4)),
		RunE: func(_ *cobra.Command, args []string) error {
			code, err := firmware.Enter(args[0], args[1], args[2], args[3])
			return &exitError{code, err}
		},
	}
}

// newFirmwareLockCommand chooses source and tools anew.
func newFirmwareLockCommand() *cobra.Command {
	var r relock
	var specFile string
	c := &cobra.Command{
		Use:   "lock",
		Short: "Choose the edk2 source and the toolchain from today's Debian archives",
		Long: `Does for the firmware what secretvm image lock does for the image: reads the signed
state of the archives, and writes the versions and SHA-256s of the source package
and of the tools that build it. Another source or compiler makes another firmware:
image/firmware/SHA256SUMS has to follow, and with it every image identity.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			text, err := os.ReadFile(specFile)
			if err != nil {
				return &exitError{exitUsage, fmt.Errorf("%w; run it in the source tree, or name --spec and --lock", err)}
			}
			spec, err := firmware.ParseSpec(text)
			if err != nil {
				return err
			}
			r.suites, r.groups = spec.Suites, spec.Groups
			return r.run(c)
		},
	}
	folder := filepath.Join("image", "firmware")
	c.Flags().StringVar(&specFile, "spec", filepath.Join(folder, "firmware.yaml"), "firmware specification to resolve")
	r.addFlags(c, filepath.Join(folder, "firmware.lock.json"))
	return c
}
