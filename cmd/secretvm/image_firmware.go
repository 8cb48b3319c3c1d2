package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/secretvm/secretvm/image/firmware"
	"github.com/secretvm/secretvm/image/foundry"
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
	c.AddCommand(newFirmwareBuildCommand(), newFirmwareLockCommand())
	return c
}

// newFirmwareBuildCommand makes a firmware image, or finds it in the cache.
func newFirmwareBuildCommand() *cobra.Command {
	var tee, prebuilt string
	var f foundryFlags
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
			r, err := firmwareRecipe(vm.TEE(tee))
			if err != nil {
				return err
			}
			return f.run(c, r, prebuilt)
		},
	}
	c.Flags().StringVar(&tee, "tee", string(vm.TDX), "tdx or snp")
	c.Flags().StringVar(&prebuilt, "firmware", "", "prebuilt FILE to take instead of building")
	f.add(c, "firmware")
	return c
}

// findFirmware returns our image for a TEE: the prebuilt file that from names, or
// for firmwareOwn what the environment names or a build yields.
func findFirmware(c *cobra.Command, tee vm.TEE, from string, mirrors []string) ([]byte, error) {
	r, err := firmwareRecipe(tee)
	if err != nil {
		return nil, err
	}
	if from == firmwareOwn {
		from = ""
	}
	built, err := obtain(c, r, from, mirrors, false)
	return built.Content, err
}

func firmwareRecipe(tee vm.TEE) (foundry.Recipe, error) {
	p, err := firmware.For(tee)
	if err != nil {
		return foundry.Recipe{}, err
	}
	return p.Recipe()
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
