package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/secretvm/secretvm/measure"
	"github.com/secretvm/secretvm/vm"
)

// measured is what the measure command found out about one shape.
type measured struct {
	vm.Prediction
	MRTDTwoPass vm.Register          `json:"mrtd_two_pass"`          // on hosts that measure section by section
	RTMR3       *vm.Register         `json:"rtmr3,omitempty"`        // with --config
	ConfigID    *vm.Register         `json:"mr_config_id,omitempty"` // with --config
	Differences []measure.Difference `json:"differences"`            // against the manifest, where it has the shape
	SNP         *snpMeasured         `json:"snp,omitempty"`          // where there is firmware for it
	Events      []vm.Event           `json:"events,omitempty"`       // with --events
}

type measureFlags struct {
	json, events, all bool
	shapes            []string
	config, qemu, snp string
}

func newMeasureCommand() *cobra.Command {
	var f measureFlags
	c := &cobra.Command{
		Use:   "measure MANIFEST",
		Short: "Predict the registers of an image from its files",
		Long: `Predict what machines that boot an image will measure, from the files beside the
manifest and nothing else, and compare with the registers in the manifest.
MANIFEST may be the image's folder.

Without --shape all shapes of the manifest are predicted, and the default is shown. RTMR3 and MR_CONFIG_ID
follow from the workload: name its measured config (--config; a machine serves
it at /config). Machines with the soft TEE measure as TDX ones.

--all-shapes prints one JSON record for 1 to 64 vCPUs, 1 to 512 GiB in usual
steps and 0 to 8 GPUs; with --config, RTMR3 in it is that of the config's template, under which
a key manager registers an image.

Exit code 0: all registers are those of the manifest; 1: they differ, or a file
is not the one that the manifest names.`,
		Example: `  secretvm measure dist/image --shape 4x8G --events
  secretvm measure dist/image --shape 2x2G --config config.json --json
  secretvm measure dist/image --all-shapes > record.json
  secretvm measure diff dist/image proof.zip`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error { return f.run(c.Context(), c.OutOrStdout(), args[0]) },
	}
	c.Flags().BoolVar(&f.json, "json", false, "print JSON")
	c.Flags().BoolVar(&f.events, "events", false, "show event by event what is measured")
	c.Flags().StringSliceVar(&f.shapes, "shape", nil, "predict this machine: vCPUs, memory and GPUs, such as 4x8G or 16x256G+8gpu; may be repeated")
	c.Flags().StringVar(&f.config, "config", "", "JSON file with the measured config of the workload")
	c.Flags().BoolVar(&f.all, "all-shapes", false, "print one record for all common shapes (JSON)")
	c.Flags().StringVar(&f.qemu, "qemu", "", "predict ACPI tables of this QEMU, which is asked and not run, instead of the locked one's")
	c.Flags().StringVar(&f.snp, "snp-firmware", "", "predict the launch digest of SEV-SNP machines with this firmware instead of the manifest's")
	c.AddCommand(newMeasureDiffCommand())
	return c
}

func (f *measureFlags) run(ctx context.Context, out io.Writer, path string) error {
	shapes, err := parseShapes(f.shapes)
	if err != nil {
		return &exitError{exitUsage, err}
	}
	im, err := openMeasured(path)
	if err != nil {
		return err
	}
	if f.qemu != "" {
		if im.tables, err = tablesOf(ctx, f.qemu); err != nil {
			return &exitError{exitUsage, err}
		}
	}
	if f.snp != "" {
		if im.snp, err = im.withSNPFile(f.snp); err != nil {
			return &exitError{exitUsage, err}
		}
	}
	var config *vm.Config
	if f.config != "" {
		if config, err = readConfig(f.config); err != nil {
			return &exitError{exitUsage, err}
		}
	}
	if f.all && f.qemu != "" {
		return &exitError{exitUsage, errors.New("--all-shapes is about the locked QEMU: leave --qemu out, or name each --shape")}
	}
	if f.all {
		return printRecord(out, im, shapes, config)
	}
	results, err := im.predict(shapes, config)
	if err != nil {
		return err
	}
	if !f.events {
		for i := range results {
			results[i].Events = nil
		}
	}
	if f.json {
		err = printJSON(out, results)
	} else {
		err = printMeasured(out, results, len(shapes) > 0)
	}
	if err != nil {
		return fmt.Errorf("print registers: %w", err)
	}
	for _, r := range results {
		if len(r.Differences) > 0 {
			return &exitError{exitRefused, errors.New("the manifest predicts other registers than its files give: rebuild the image with secretvm image build")}
		}
	}
	return nil
}
