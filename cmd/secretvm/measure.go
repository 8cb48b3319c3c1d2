package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/secretvm/secretvm/measure"
	"github.com/secretvm/secretvm/vm"
)

// measured is what the measure command found out about one shape.
type measured struct {
	vm.Prediction
	Differences []measure.Difference `json:"differences"`      // against the manifest
	Events      []vm.Event           `json:"events,omitempty"` // with --events
}

func newMeasureCommand() *cobra.Command {
	var asJSON, withEvents bool
	cmd := &cobra.Command{
		Use:   "measure MANIFEST",
		Short: "Recompute the registers of an image from its files",
		Long: `Recompute what machines that boot an image will measure, from the files beside
the manifest, and compare with the registers in the manifest. MANIFEST may be
the image's folder.

RTMR3 depends on the workload and is not part of an image.

Exit code 0: all registers are those of the manifest; 1: they differ, or a file
is not the one that the manifest names.`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			results, err := measureImage(args[0])
			if err != nil {
				return err
			}
			if !withEvents {
				for i := range results {
					results[i].Events = nil
				}
			}
			if asJSON {
				enc := json.NewEncoder(c.OutOrStdout())
				enc.SetIndent("", "  ")
				err = enc.Encode(results)
			} else {
				err = printMeasured(c.OutOrStdout(), results)
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
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&withEvents, "events", false, "show event by event what is measured")
	return cmd
}

// measureImage recomputes every prediction of the manifest at path.
func measureImage(path string) ([]measured, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, vm.ManifestName)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	manifest, err := vm.ParseManifest(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(manifest.Predictions) == 0 {
		return nil, fmt.Errorf("%s: the manifest holds no predictions: rebuild the image with secretvm image build", path)
	}
	in := measure.Input{CommandLine: manifest.CommandLine, Profile: measure.EDK2Stable202502()}
	dir := filepath.Dir(path)
	for _, f := range []struct {
		file vm.File
		to   *[]byte
	}{{manifest.Firmware, &in.Firmware}, {manifest.Kernel, &in.Kernel}, {manifest.Initramfs, &in.Initrd}} {
		if *f.to, err = readArtifact(dir, f.file); err != nil {
			return nil, err
		}
	}
	var results []measured
	for _, want := range manifest.Predictions {
		in.Shape = want.Shape
		events, found, err := measure.Predict(in)
		if err != nil {
			return nil, err
		}
		results = append(results, measured{Prediction: found, Differences: measure.Differences(want, found), Events: events})
	}
	return results, nil
}

// readArtifact reads a file beside the manifest and checks that it is the one
// that the manifest names.
func readArtifact(dir string, f vm.File) ([]byte, error) {
	if filepath.Base(f.Name) != f.Name {
		return nil, fmt.Errorf("the manifest names %q, want a plain file name", f.Name)
	}
	file, err := os.Open(filepath.Join(dir, f.Name))
	if err != nil {
		return nil, fmt.Errorf("read image: %w", err)
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, f.Size+1))
	if err != nil {
		return nil, fmt.Errorf("read image: %w", err)
	}
	if got := vm.HashOf(b); int64(len(b)) != f.Size || got != f.SHA256 {
		return nil, fmt.Errorf("%s is not the file that the manifest names: SHA-256 %s, want %s with %d bytes", file.Name(), got, f.SHA256, f.Size)
	}
	return b, nil
}

func printMeasured(w io.Writer, results []measured) error {
	var err error
	line := func(format string, args ...any) {
		if err == nil {
			_, err = fmt.Fprintf(w, format+"\n", args...)
		}
	}
	for _, r := range results {
		line("%d vCPUs, %d MiB (%s)", r.Shape.CPUs, r.Shape.Memory>>20, r.TEE)
		differs := map[string]vm.Register{}
		for _, d := range r.Differences {
			differs[d.Register] = d.Want
		}
		for _, reg := range []struct {
			name, key string
			value     vm.Register
		}{{"MRTD", "mrtd", r.MRTD}, {"RTMR0", "rtmr0", r.RTMR0}, {"RTMR1", "rtmr1", r.RTMR1}, {"RTMR2", "rtmr2", r.RTMR2}} {
			mark := "✓"
			if _, ok := differs[reg.key]; ok {
				mark = "✗"
			}
			line(" %s %-5s %s", mark, reg.name, reg.value)
			if want, ok := differs[reg.key]; ok {
				line("   the manifest has %s", want)
			}
		}
		for _, e := range r.Events {
			line("     RTMR%d %-16s %s…  %s", e.Register, e.Name, e.Digest.String()[:16], e.Payload)
		}
	}
	return err
}
