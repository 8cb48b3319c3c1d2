package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/secretvm/secretvm/host/doctor"
	"github.com/secretvm/secretvm/host/qemu"
	"github.com/secretvm/secretvm/image"
	"github.com/secretvm/secretvm/image/lock"
	"github.com/secretvm/secretvm/vm"
)

func newHostCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "host",
		Short: "Look at the computer that machines run on",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			return &exitError{exitUsage, errors.New("name what to do: secretvm host doctor")}
		},
	}
	c.AddCommand(newHostDoctorCommand())
	return c
}

// doctorFlags are the flags of host doctor.
type doctorFlags struct {
	tee, image, qemu string
	json             bool
}

func newHostDoctorCommand() *cobra.Command {
	var f doctorFlags
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Say which machines this computer can run, what it lacks, and how to mend that",
		Long: `doctor looks at processor, BIOS, kernel, modules, devices, groups, memory and
services, one line for each: ✓ is fine, ✗ keeps machines from starting, · does
not apply, cannot be told, or can be done without. What can be done about it is
in the line below. It changes nothing, starts nothing, and needs no privileges.

soft machines run anywhere, emulated where the processor does not help. tdx needs
an Intel processor with TDX, snp an AMD processor with SEV-SNP.

Exit codes: 0 the machines that --tee names can run here (without --tee: soft
ones); 1 something is lacking; 2 usage.`,
		Example: `  secretvm host doctor
  secretvm host doctor --tee tdx
  secretvm host doctor --tee snp --image IMAGE-FOLDER
  secretvm host doctor --json | jq -r '.checks[] | select(.state == "lacking") | .fix'`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			tee := vm.TEE(f.tee)
			switch tee {
			case "", vm.Soft, vm.TDX, vm.SNP:
			default:
				return &exitError{exitUsage, fmt.Errorf("--tee %q is not known, want %s, %s or %s", f.tee, vm.Soft, vm.TDX, vm.SNP)}
			}
			report, err := f.examine(c)
			if err != nil {
				return err
			}
			if tee != "" {
				report = report.Of(tee)
			} else {
				tee = vm.Soft
			}
			if f.json {
				enc := json.NewEncoder(c.OutOrStdout())
				enc.SetIndent("", "  ")
				enc.SetEscapeHTML(false)
				err = enc.Encode(report)
			} else {
				_, err = report.WriteTo(c.OutOrStdout())
			}
			if err != nil {
				return fmt.Errorf("print report: %w", err)
			}
			if !report.Ready[tee] {
				return &exitError{exitRefused, nil}
			}
			return nil
		},
	}
	c.Flags().StringVar(&f.tee, "tee", "", "look at what these machines need alone: soft, tdx or snp")
	c.Flags().StringVar(&f.image, "image", "", "look at the firmware of the image in this `FOLDER` too")
	c.Flags().StringVar(&f.qemu, "qemu", "", "`PATH` of another QEMU than the locked one")
	c.Flags().BoolVar(&f.json, "json", false, "print the report as one JSON document")
	return c
}

// examine looks at this computer.
func (f doctorFlags) examine(c *cobra.Command) (doctor.Report, error) {
	probe := doctor.Look()
	probe.QEMU, probe.QEMUError = lockedQEMU(), ""
	if f.qemu != "" {
		probe.QEMU = f.qemu
		if _, err := qemu.System(c.Context(), f.qemu); err != nil {
			probe.QEMUError = err.Error()
		}
	}
	if f.image != "" {
		if err := examineFirmware(&probe, f.image); err != nil {
			return doctor.Report{}, &exitError{exitUsage, fmt.Errorf("--image %s: %w", f.image, err)}
		}
	}
	return doctor.Judge(doctor.Gather(os.DirFS("/"), probe)), nil
}

// lockedQEMU says where the locked emulator will come from; nothing is fetched.
func lockedQEMU() string {
	const later = "the locked one, which up fetches when it first needs it"
	l, err := image.BaseLock()
	if err != nil {
		return later
	}
	tools, err := l.Group(lock.Tools)
	if err != nil {
		return later
	}
	cache, err := image.CacheDir()
	if err != nil {
		return later
	}
	if _, err := os.Stat(filepath.Join(cache, "tools", lock.Digest(tools).String()[:32])); err != nil {
		return later
	}
	for _, p := range tools {
		if p.Name == "qemu-system-x86" {
			return "the locked one, " + p.Version
		}
	}
	return "the locked one"
}

// examineFirmware reads the firmware that the image's manifest names for either TEE.
func examineFirmware(p *doctor.Probe, folder string) error {
	text, err := os.ReadFile(filepath.Join(folder, vm.ManifestName))
	if err != nil {
		return err
	}
	manifest, err := vm.ParseManifest(text)
	if err != nil {
		return err
	}
	p.Firmware = strings.TrimSpace(manifest.Name + " " + manifest.Release + " " + manifest.Firmware.Name)
	for tee, problem := range map[vm.TEE]*string{vm.TDX: &p.TDXFirmware, vm.SNP: &p.SNPFirmware} {
		file := manifest.FirmwareOf(tee)
		firmware, err := os.ReadFile(filepath.Join(folder, file.Name))
		if err != nil {
			return err
		}
		if got := vm.HashOf(firmware); got != file.SHA256 {
			return fmt.Errorf("%s has SHA-256 %s, its manifest says %s (build the image again)", file.Name, got, file.SHA256)
		}
		if err := qemu.CheckFirmware(tee, firmware, qemu.Verifying); err != nil {
			*problem = err.Error()
		}
	}
	return nil
}
